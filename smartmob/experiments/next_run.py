"""The tests of the next runs, and how often a process calls each of them. No I/O.

Tests whose capital has grown run without the others for some blocks, so a change is found after a few short runs
instead of as many runs of the whole suite. The choice depends only on earlier pairs, so on average it makes no capital
grow.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import median

import msgspec

from smartmob.experiments.decision import EvidenceOnTest
from smartmob.experiments.model import Measure

WARM_CALLS_COUNT = 2
"""The calls of each test in the warm-up: the second shows whether it can be repeated."""

_CALL_SECONDS = 0.02  # of calls that a short test gets in one process
_MOST_CALLS_COUNT = 20
_MOST_FIXTURE_SECONDS = 0.2  # of the fixtures of all calls of a test in one process
_AROUND_SECONDS = 0.001  # of pytest, around each call
_CALLS_OF_ALL_COUNT = 2  # calls of each of many tests, so that a run takes at most twice as long as without measures
_FREE_SECONDS = 0.5  # of a run, which short tests may always use

_CAPITAL = 2.0
"""The capital from which a test runs only with others like it. At most one in two unchanged tests reaches it."""
_BLOCKS_COUNT = 8
"""One in so many blocks of pairs has all tests again: a change below the smallest effect may keep its capital."""


class Calls(msgspec.Struct, frozen=True):
    """The most calls of a test in one process, and the seconds of each with its fixtures."""

    most: int
    seconds: float


def chosen(
    tests: Sequence[EvidenceOnTest], block: int, first_blocks: int, *, memory_counts: bool = False
) -> list[EvidenceOnTest]:
    """Return those of the open tests that run in a block: the ones whose capital has grown.

    All tests run in the first blocks, in one of `_BLOCKS_COUNT` later blocks, if no capital has grown, and if memory
    counts: capital on times says nothing about memory.
    """
    if memory_counts or block < first_blocks or block % _BLOCKS_COUNT == 0:
        return list(tests)
    return [test for test in tests if test.decided is None and test.time.evidence >= _CAPITAL] or list(tests)


def calls_of(measures: Sequence[Measure]) -> Calls:
    """Return how often a test may be called in one process: more often if it is short, once if it cannot be repeated.

    `measures` are those of both sides with `WARM_CALLS_COUNT` calls.
    """
    known = [each for each in measures if each.wall]
    call = max((min(each.wall) for each in known), default=0) / 1e9
    around = max((median(each.setup or [0]) + median(each.teardown or [0]) for each in known), default=0) / 1e9
    seconds = call + around + _AROUND_SECONDS
    if not measures or not all(each.is_usable and len(each.wall) == WARM_CALLS_COUNT for each in measures):
        return Calls(1, seconds)
    wanted = min(_CALL_SECONDS / max(call, 1e-9), _MOST_FIXTURE_SECONDS / max(around, 1e-9), _MOST_CALLS_COUNT)
    # Even long tests get two calls, of which the second counts: a first call differs from later ones.
    return Calls(max(2 if call < 1.0 and around < 1.0 else 1, int(wanted)), seconds)


def shared_calls(tests: Mapping[str, Calls]) -> dict[str, int]:
    """Return how often each test is called in a run of all of these, so that the length of the run is bounded."""
    allowed = max(_FREE_SECONDS, _CALLS_OF_ALL_COUNT * sum(each.seconds for each in tests.values()))
    limit = _MOST_CALLS_COUNT
    while (
        limit > _CALLS_OF_ALL_COUNT and sum(min(limit, each.most) * each.seconds for each in tests.values()) > allowed
    ):
        limit -= 1
    return {name: min(limit, each.most) for name, each in tests.items()}
