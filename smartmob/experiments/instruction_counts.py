"""Instruction counts of tests by Valgrind, and the verdict on both sides that follows. No I/O.

The load of the machine does not affect a count. The difference of both sides varies between calls only if the test
itself is not deterministic. A difference counts only if another hash seed shows it as well.
"""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from statistics import median

from smartmob.experiments.model import Instructions

SMALLEST_EFFECT = 0.01
"""The smallest share of instructions that counts as a difference. Another layout of memory alone moves some 0.1 %."""

_EXACT = 0.001  # the largest share by which single calls may differ and count as equal
_SPREAD_SHARE = 0.25  # of the smallest effect, or of the difference: calls that disagree by more "vary"
_MANY_CALLS_COUNT = 5  # calls from which their median counts, and one call may differ from the others
_TOTALS = re.compile(rb"^totals: (\d+)", re.M)
_TRIGGER = re.compile(rb"^desc: Trigger: Client Request: (\w+)", re.M)

Counts = tuple[Sequence[int], Sequence[int]]
"""The instructions of the calls of base and of head, without the first call if there were more."""


def parsed(dump: bytes) -> tuple[str, int] | None:
    """Return label and instructions of a dump of callgrind, or None for a dump that was not requested."""
    label, totals = _TRIGGER.search(dump), _TOTALS.findall(dump)
    return (label[1].decode(), int(totals[-1])) if label and totals else None


def needs_other_seed(counts: Counts) -> bool:
    """Return whether the counts of both sides differ so much that another hash seed has to confirm the difference."""
    difference, spread = abs(_difference(counts)), _spread(counts)
    return difference > (math.log1p(SMALLEST_EFFECT) if spread is not None else _EXACT)


def judge(counts: Counts, other: Counts | None = None) -> Instructions:
    """Return the verdict on the counts of both sides, `other` being those with another hash seed.

    The ratio is that of the seed whose ratio is nearer to 1. The spread is that of the seed with more calls.
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
    """Return the logarithms of head / base by call, or an empty list if one side has fewer calls.

    The second call of base is compared with the second one of head, and so on: an interpreter that adapts itself to a
    test changes the counts of both sides alike, call by call.
    """
    base, head = counts
    if len(base) != len(head):
        return []
    return [math.log(after / before) for before, after in zip(base, head, strict=True)]


def _spread(counts: Counts) -> float | None:
    """Return how far the differences of single calls lie apart, or None if there was only one call.

    Of many calls the least and the greatest are left out: a growing dictionary or heap makes one call of a test of
    100,000 instructions 1 % more expensive, and a change of the code moves that to another call. Where one side has
    fewer calls, the calls of each side are compared with each other.
    """
    differences = sorted(_differences(counts))
    if len(differences) >= _MANY_CALLS_COUNT:
        differences = differences[1:-1]
    if len(differences) > 1:
        return differences[-1] - differences[0]
    several = [each for each in counts if len(each) > 1]
    return max((math.log(max(each) / min(each)) for each in several), default=None)
