"""The e-BH procedure: which of many tests have changed, with few unchanged ones among those that are reported."""

from __future__ import annotations

from collections.abc import Sequence


def discoveries(evidence: Sequence[float], rate: float) -> set[int]:
    """Return the indices of the e-values that are discoveries at a false discovery rate.

    The discoveries are the k largest of the n e-values, for the largest k at which each of them is at least n / (k
    rate). This holds for dependent e-values, such as those of tests in one process, and for capitals that were stopped
    at any time. R. Wang and A. Ramdas, *False discovery rate control with e-values*, JRSS B 84 (2022).
    """
    order = sorted(range(len(evidence)), key=lambda index: -evidence[index])
    number = 0
    for rank, index in enumerate(order, 1):
        if evidence[index] * rank * rate >= len(evidence):
            number = rank
    return set(order[:number])
