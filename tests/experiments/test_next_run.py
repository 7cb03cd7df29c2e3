"""The choice of tests for a run, and how often each is called."""

from __future__ import annotations

import pytest

from smartmob.experiments.decision import EvidenceOnTest
from smartmob.experiments.model import Measure
from smartmob.experiments.next_run import Calls, calls_of, chosen, shared_calls, with_memory

_MS = 1_000_000


def _measure(ms: float, calls: int = 2, *, fixtures_ms: float = 0.0, outcome: str = "passed") -> Measure:
    times, around = [int(ms * _MS)] * calls, [int(fixtures_ms * _MS)] * calls
    return Measure("t", outcome, wall=times, cpu=times, queue=[0] * calls, setup=around, teardown=around)


def _evidence(name: str, *differences: float) -> EvidenceOnTest:
    found = EvidenceOnTest(name)
    for each in differences:
        found.time.add(each)
    return found


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


def test_a_first_call_that_differs_is_not_the_only_one() -> None:
    """If the first call fills caches on both sides, there are always two; a disturbance of one side is none of that."""
    cold = Measure("t", "passed", wall=[30 * _MS, 10 * _MS], cpu=[0, 0], queue=[0, 0], setup=[0, 0], teardown=[0, 0])
    assert calls_of([cold, cold]).fewest == 2
    assert calls_of([cold, _measure(10)]).fewest == 1


def test_a_run_is_bounded_by_the_calls_of_its_tests() -> None:
    """Each of 1,000 tests gets one call in the first runs, each of a few as many as a quarter of the run allows."""
    one = Calls(20, 0.002)
    many = {str(number): one for number in range(1000)}
    assert set(shared_calls(many, 1.0, first=True).values()) == {1}
    assert set(shared_calls(many, 7.0, first=False).values()) == {2}
    few = {str(number): one for number in range(40)}
    assert set(shared_calls(few, 1.0, first=True).values()) == {2}
    assert set(shared_calls(few, 1.0, first=False).values()) == {4}
    assert shared_calls({"a": one, "once": Calls(1, 0.002)}, 1.0, first=False) == {"a": 20, "once": 1}
    assert shared_calls(many | {"cold": Calls(2, 0.01, 2)}, 1.0, first=True)["cold"] == 2


def test_a_short_call_whose_memory_is_measured_is_not_the_only_one() -> None:
    """The measure disturbs a short call, so a second counts; a test that cannot be repeated, or is long, has one."""
    tests = {"short": Calls(20, 0.02), "once": Calls(1, 0.02), "long": Calls(2, 0.9), "other": Calls(20, 0.02)}
    found = shared_calls(tests, 0.0, first=True, memory={"short", "once", "long"})
    assert found == {"short": 2, "once": 1, "long": 1, "other": 1}


def test_tests_that_seem_changed_run_first() -> None:
    """After the first blocks those whose capital has doubled run alone, and all in each eighth block."""
    changed, decided = (_evidence(name, *[0.2] * 4) for name in ("changed", "decided"))
    decided.decided = "slower"  # open for its memory
    steady = _evidence("steady", 0.05, -0.1, 0.05, -0.1)
    assert steady.time.evidence < 0.9
    tests = [steady, changed, decided]
    calls = {test.name: Calls(20, 0.5) for test in tests}
    assert chosen(tests, 1, 2, calls, 1.2) == tests
    assert chosen(tests, 2, 2, calls, 0.4) == [changed]
    assert chosen(tests, 8, 2, calls, 0.4) == tests
    assert chosen([steady, decided], 2, 2, calls, 0.4) == [steady, decided]


def test_a_short_run_is_filled_with_the_next_tests() -> None:
    """For half as long as the process starts, there is room for tests whose capital has not been lost."""
    changed, lost = _evidence("changed", *[0.2] * 4), _evidence("lost", 0.2, -0.2, 0.2, -0.2)
    maybe = [_evidence(f"maybe{number}", 0.2, 0.1, 0.1, -0.05) for number in range(3)]
    assert lost.time.evidence < 0.4 < maybe[0].time.evidence < 2 < changed.time.evidence
    tests = [lost, *maybe, changed]
    calls = {test.name: Calls(20, 0.1) for test in tests}
    assert chosen(tests, 2, 2, calls, 0.7) == [*maybe[:2], changed]
    assert chosen(tests, 2, 2, calls, 10.0) == [*maybe, changed]
    # After the first blocks there is room for a half of all tests, then for a quarter.
    assert chosen(tests, 2, 2, calls, 0.0) == [maybe[0], changed]
    assert chosen(tests, 3, 2, calls, 0.0) == [changed]


def test_memory_is_measured_where_it_costs_little() -> None:
    """Always in long runs of few tests, of many in every other pair after 20, and not once it is known."""
    known, *others = (EvidenceOnTest(str(number)) for number in range(101))
    for _ in range(20):
        known.memory.add(0.0)
    names = [test.name for test in others]
    tests = [known, *others]
    assert with_memory(tests, 0, 10.0) == names
    assert [bool(with_memory(tests, pair, 1.0)) for pair in range(24)] == [False] * 20 + [True, False] * 2
    assert with_memory(tests, 20, 1.0) == names
