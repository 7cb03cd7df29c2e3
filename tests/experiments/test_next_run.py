"""The choice of tests for a run, and how often each is called."""

from __future__ import annotations

import pytest

from smartmob.experiments.decision import EvidenceOnTest
from smartmob.experiments.model import Measure
from smartmob.experiments.next_run import Calls, calls_of, chosen, shared_calls

_MS = 1_000_000


def _measure(ms: float, calls: int = 2, *, fixtures_ms: float = 0.0, outcome: str = "passed") -> Measure:
    times, around = [int(ms * _MS)] * calls, [int(fixtures_ms * _MS)] * calls
    return Measure("t", outcome, wall=times, cpu=times, queue=[0] * calls, setup=around, teardown=around)


@pytest.mark.parametrize(
    ("measures", "calls"),
    [
        ([_measure(0.01), _measure(0.01)], 20),
        ([_measure(4), _measure(2)], 5),
        ([_measure(100), _measure(1)], 2),
        ([_measure(5000), _measure(5000)], 1),
        # Fixtures are made for each call.
        ([_measure(1, fixtures_ms=50), _measure(1)], 2),
        ([_measure(1, fixtures_ms=2000), _measure(1)], 1),
        # It failed when it was called again.
        ([_measure(1, 1, outcome="failed"), _measure(1)], 1),
        ([], 1),
    ],
)
def test_short_tests_are_called_more_often(measures: list[Measure], calls: int) -> None:
    """As often as 20 ms allow, and once if a test cannot be repeated."""
    assert calls_of(measures).most == calls


def test_many_tests_are_called_less_often_in_one_run() -> None:
    """Of 1,000 tests each gets two calls, of 40 some, and of one all; one that cannot be repeated gets one."""
    one = Calls(20, 0.002)
    assert set(shared_calls({str(number): one for number in range(1000)}).values()) == {2}
    assert set(shared_calls({str(number): one for number in range(40)}).values()) == {6}
    assert shared_calls({"a": one, "once": Calls(1, 0.002)}) == {"a": 20, "once": 1}


def test_tests_that_seem_changed_run_first() -> None:
    """After the first blocks those whose capital has doubled run alone, and all in each eighth block."""
    steady, changed, decided = (EvidenceOnTest(name) for name in ("steady", "changed", "decided"))
    for test in (changed, decided):
        for _ in range(4):
            test.time.add(0.2)
    decided.decided = "slower"  # open for its memory
    for difference in (0.01, -0.01, 0.01, -0.01):
        steady.time.add(difference)
    tests = [steady, changed, decided]
    assert chosen(tests, 1, 2) == tests
    assert chosen(tests, 2, 2) == [changed]
    assert chosen(tests, 8, 2) == tests
    assert chosen(tests, 2, 2, memory_counts=True) == tests
    assert chosen([steady, decided], 2, 2) == [steady, decided]
