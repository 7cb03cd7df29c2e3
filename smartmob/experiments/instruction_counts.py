"""Instructions of tests: what Valgrind has counted, and what it says about both sides. No I/O.

A count does not feel the machine. The difference of both sides is not the same in each call only where a test itself is
not deterministic, and a difference counts only if it is there with another hash seed as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from statistics import median

from smartmob.experiments.model import Instructions

SMALLEST_EFFECT = 0.01
"""The smallest share of instructions that counts as a difference. Another layout of memory alone moves some 0.1 %."""

_EXACT = 0.001  # the share that one call without a second one may differ by and be called equal
_SPREAD_SHARE = 0.25  # of the smallest effect, or of the difference: calls that disagree by more "vary"
_MANY_CALLS_COUNT = 5  # from which on their median counts, and one call may be unlike the others
_TOTALS = re.compile(rb"^totals: (\d+)", re.M)
_TRIGGER = re.compile(rb"^desc: Trigger: Client Request: (\w+)", re.M)

Counts = tuple[Sequence[int], Sequence[int]]
"""The instructions of the calls of base and of head, those of a first call left out if there were more."""


def parsed(dump: bytes) -> tuple[str, int] | None:
    """Return label and instructions of a dump of callgrind, or None for one that was not asked for."""
    label, totals = _TRIGGER.search(dump), _TOTALS.findall(dump)
    return (label[1].decode(), int(totals[-1])) if label and totals else None


def needs_other_seed(counts: Counts) -> bool:
    """Return whether the counts of both sides differ so much that another hash seed has to confirm it."""
    difference, spread = abs(_difference(counts)), _spread(counts)
    return difference > (math.log1p(SMALLEST_EFFECT) if spread is not None else _EXACT)


def judge(counts: Counts, other: Counts | None = None) -> Instructions:
    """Return the verdict on the counts of both sides, `other` being those with another hash seed.

    The ratio is the one of both seeds that is nearer to 1. The spread is that of the seed with more calls.
    """
    known_counts = [each for each in (counts, other) if each is not None]
    ratios = [_difference(each) for each in known_counts]
    most = max(len(each[0]) for each in known_counts)
    spreads = [spread for each in known_counts if len(each[0]) == most and (spread := _spread(each)) is not None]
    if not spreads and len(ratios) > 1:
        spreads = [abs(ratios[0] - ratios[1])]
    spread = max(spreads, default=None)
    weakest, strongest = min(ratios, key=abs), max(ratios, key=abs)
    limit = math.log1p(SMALLEST_EFFECT)
    known = (counts[0][-1], counts[1][-1], math.exp(weakest), spread)
    if spread is not None and spread > _SPREAD_SHARE * max(limit, abs(weakest)):
        return Instructions("varies", *known)
    if abs(strongest) <= limit:
        return Instructions("equal", *known)
    if other is None:
        return Instructions("not confirmed", *known)
    is_confirmed = ratios[0] * ratios[1] > 0 and abs(weakest) > limit + (spread or 0.0)
    if not is_confirmed:
        return Instructions("varies", *known)
    return Instructions("more" if weakest > 0 else "fewer", *known)


def _difference(counts: Counts) -> float:
    """Return the logarithm of head / base: of the last calls, or the median if there are many calls."""
    differences = _differences(counts)
    return median(differences) if len(differences) >= _MANY_CALLS_COUNT else math.log(counts[1][-1] / counts[0][-1])


def _differences(counts: Counts) -> list[float]:
    """Return the logarithms of head / base by call, or nothing where one side has fewer calls.

    The second call of base is compared with the second one of head, and so on: an interpreter that adapts itself to a
    test changes the counts of both sides alike, call by call.
    """
    base, head = counts
    if len(base) != len(head):
        return []
    return [math.log(after / before) for before, after in zip(base, head, strict=True)]


def _spread(counts: Counts) -> float | None:
    """Return how far the differences of single calls lie apart, or None when there was one call only.

    Of many calls the least and the greatest are left out: a dictionary or a heap that grows costs one call so much that
    a test of 100,000 instructions has 1 % more, and a change of the code moves that to another call. Where one side
    has fewer calls, the calls of each side are compared with each other.
    """
    differences = sorted(_differences(counts))
    if len(differences) >= _MANY_CALLS_COUNT:
        differences = differences[1:-1]
    if len(differences) > 1:
        return differences[-1] - differences[0]
    several = [each for each in counts if len(each) > 1]
    return max((math.log(max(each) / min(each)) for each in several), default=None)
