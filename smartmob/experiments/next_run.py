"""The tests of the next runs, how often a process calls each of them, and whether it measures their memory. No I/O.

Tests whose capital has grown run without most of the others for some blocks, so a change is found after a few short
runs instead of as many runs of the whole suite. The choices depend only on earlier pairs, so on average they make no
capital grow.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from statistics import median

import msgspec

from smartmob.experiments.decision import EvidenceOnTest
from smartmob.experiments.model import Measure

WARM_CALLS_COUNT = 2
"""The calls of each test in the warm-up: the second shows whether it can be repeated."""

_CALL_SECONDS = 0.02  # of calls that a short test gets in one process
_MOST_CALLS_COUNT = 20
_MOST_FIXTURE_SECONDS = 0.2  # of the fixtures of all calls of a test in one process
_LONGEST_REPEATED_SECONDS = 1.0  # of a call, or of its fixtures
_AROUND_SECONDS = 0.001  # of pytest, around each call
_COLD_RATIO = 1.25
"""A first call that takes this many times as long as the second on both sides imports, compiles or fills caches, and is
never the only one.
"""
_FIRST_EXTRA_SHARE = 0.1  # of a run in the first blocks, for calls after the first of each test
_EXTRA_SHARE = 0.25  # of later runs

_MEMORY_SECONDS = 0.003  # of a call whose memory is measured: free memory is filled before, and given back after it
_MEMORY_SHARE = 0.1  # of a run, which the measures of memory may always take
_PAIRS_WITHOUT_MEMORY_COUNT = 20  # the first pairs, within which large changes of time are found
_LONG_SECONDS = 0.05  # of a call that is not disturbed by the measure of its memory, so it counts if it is the only one

_CAPITAL = 2.0
"""The capital from which a test runs only with others like it. At most one in two unchanged tests reaches it."""
_LEAST_CAPITAL = 0.4
"""The capital of tests that run with those, if there is time. After four pairs with a spread of 12 %, 98 % of the tests
that are slower by 20 % have this capital, and 84 % the other.
"""
_FILLED_SHARE = 0.1  # of the calls of all open tests, which a run of some of them may take
_FIRST_FILLED_SHARE = 0.5  # the same after the first blocks, when little is known; halved with each block
_FILLED_START_SHARE = 0.5  # of the start of the process, which it may take if this is longer
_BLOCKS_COUNT = 8
"""One in this many blocks of pairs has all tests again: a change below the smallest effect may keep its capital."""


class Calls(msgspec.Struct, frozen=True):
    """The most and the fewest calls of a test in one process, and the seconds of each with its fixtures."""

    most: int
    seconds: float
    fewest: int = 1


def chosen(
    tests: Sequence[EvidenceOnTest], block: int, first_blocks: int, calls: Mapping[str, Calls], start: float
) -> list[EvidenceOnTest]:
    """Return those of the open tests that run in a block: all of them in the first blocks, later those with capital.

    `start` are the seconds of a process before its first test.
    """
    undecided = [test for test in tests if test.decided is None]
    best = sorted(undecided, key=lambda test: -test.time.evidence)
    if block < first_blocks or block % _BLOCKS_COUNT == 0 or not best or best[0].time.evidence < _CAPITAL:
        return list(tests)
    share = max(_FILLED_SHARE, _FIRST_FILLED_SHARE * 0.5 ** (block - first_blocks))
    left = max(_FILLED_START_SHARE * start, share * sum(calls[test.name].seconds for test in undecided))
    kept = set()
    for test in best:
        left -= calls[test.name].seconds
        if test.time.evidence < (_CAPITAL if left < 0 else _LEAST_CAPITAL):
            break
        kept.add(test.name)
    return [test for test in undecided if test.name in kept]


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
    if max(call, around) >= _LONGEST_REPEATED_SECONDS:
        return Calls(1, seconds)
    wanted = min(_CALL_SECONDS / max(call, 1e-9), _MOST_FIXTURE_SECONDS / max(around, 1e-9), _MOST_CALLS_COUNT)
    is_cold = min(each.wall[0] / max(1, each.wall[1]) for each in measures) > _COLD_RATIO
    return Calls(max(2, int(wanted)), seconds, 2 if is_cold else 1)


def shared_calls(
    tests: Mapping[str, Calls], start: float, *, first: bool, memory: Collection[str] = ()
) -> dict[str, int]:
    """Return how often each test is called in a run of all of these, so that the length of the run is bounded.

    `start` are the seconds of a process before its first test. The runs of the first blocks are short. Where memory is
    measured, the first call of a short test does not count.
    """
    fewest = {
        name: min(2, each.most) if name in memory and each.seconds < _LONG_SECONDS else each.fewest
        for name, each in tests.items()
    }
    seconds = sum(fewest[name] * each.seconds for name, each in tests.items())
    allowed = seconds + (_FIRST_EXTRA_SHARE if first else _EXTRA_SHARE) * (start + seconds)

    def calls(limit: int) -> dict[str, int]:
        return {name: max(fewest[name], min(limit, each.most)) for name, each in tests.items()}

    limit = _MOST_CALLS_COUNT
    while limit > 1 and sum(number * tests[name].seconds for name, number in calls(limit).items()) > allowed:
        limit -= 1
    return calls(limit)


def with_memory(tests: Sequence[EvidenceOnTest], pair: int, seconds: float) -> list[str]:
    """Return the tests whose memory is measured in a pair: those that need it, where it takes a small part of the run.

    Otherwise it is measured in every other pair of a long experiment. `seconds` are those of a run of these tests.
    """
    needed = [test.name for test in tests if test.memory_is_open]
    is_cheap = len(needed) * _MEMORY_SECONDS <= _MEMORY_SHARE * seconds
    return needed if is_cheap or (pair >= _PAIRS_WITHOUT_MEMORY_COUNT and pair % 2 == 0) else []
