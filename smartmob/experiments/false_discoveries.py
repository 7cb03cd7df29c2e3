"""The e-BH procedure: which of many tests have changed, so that few of those that are reported have not."""

from __future__ import annotations

from collections.abc import Sequence


def discoveries(evidence: Sequence[float], rate: float) -> set[int]:
    """Return the places of the e-values that are discoveries at a false discovery rate.

    The k largest are, for the largest k of which each is at least n / (k rate). This holds for e-values that depend on
    each other, which those of tests of one process do, and for capitals that were stopped at any time. R. Wang and A.
    Ramdas, *False discovery rate control with e-values*, JRSS B 84 (2022).
    """
    order = sorted(range(len(evidence)), key=lambda place: -evidence[place])
    number = 0
    for rank, place in enumerate(order, 1):
        if evidence[place] * rank * rate >= len(evidence):
            number = rank
    return set(order[:number])
