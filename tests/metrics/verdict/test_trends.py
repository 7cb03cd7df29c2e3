"""The trends of a suite: the shift of all tests apart, lasting changes first, and words."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest

from smartmob.metrics.verdict.change_detection import ChangeLimits, ItemName
from smartmob.metrics.verdict.scales import SCALES
from smartmob.metrics.verdict.trends import (
    MeasuredPlace,
    MeasuredRun,
    Trend,
    TrendPlace,
    by_importance,
    explain,
    find_trends,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
TESTS: list[ItemName] = [("t", f"test_{n}", f"test_{n}", "function") for n in range(8)]
PLACE = MeasuredPlace("c", "rack7", "3.11", {name: name[1] for name in TESTS})


def _runs(number: int, factor: Callable[[int, int], float], *, noise: float = 0.01) -> list[MeasuredRun]:
    """Return runs of tests of 100 ms, each multiplied by a factor of the run and of the test."""
    source = random.Random(7)
    return [
        MeasuredRun(
            START + timedelta(days=run),
            f"run{run}",
            f"commit{run}",
            {
                name: 0.1 * factor(run, index) * math.exp(noise * source.gauss(0, 1))
                for index, name in enumerate(TESTS)
                if factor(run, index)
            },
        )
        for run in range(number)
    ]


def _found(runs: list[MeasuredRun], resource: str = "total_time") -> list[Trend]:
    scale = SCALES[resource]
    return by_importance(find_trends(runs, PLACE, scale, ChangeLimits()))


def test_a_step_names_the_commit_and_both_levels() -> None:
    """A test that became slower has the run and the commits around the step, and is slower now."""
    (trend,) = _found(_runs(40, lambda run, index: 1.5 if index == 3 and run >= 25 else 1.0))
    assert (trend.item_id, trend.change, trend.direction, trend.still) == ("test_3", "step", "more", True)
    assert (trend.run, trend.scm_ref, trend.previous_ref) == ("run25", "commit25", "commit24")
    assert (trend.before, trend.after, trend.now) == pytest.approx((0.1, 0.15, 0.15), rel=0.03)
    assert trend.ratio == pytest.approx(1.5, rel=0.03)
    assert trend.confidence > 0.999


def test_a_corrected_slowdown_is_not_still_there() -> None:
    """A slow time that ended is two steps, of which the first does not last."""
    found = _found(_runs(60, lambda run, index: 2.0 if index == 3 and 20 <= run < 30 else 1.0))
    assert [(one.direction, one.still, one.run) for one in found] == [("less", True, "run30"), ("more", False, "run20")]


def test_a_slower_machine_is_one_finding() -> None:
    """When all tests take longer from one run on, that is a trend of all tests together and of none alone."""
    (trend,) = _found(_runs(40, lambda run, _: 1.3 if run >= 25 else 1.0))
    assert (trend.item_id, trend.item, trend.scm_ref) == (None, "all tests together", "commit25")
    assert trend.ratio == pytest.approx(1.3, rel=0.03)


def test_a_test_that_the_machine_does_not_slow_down_is_not_faster() -> None:
    """A test that waits for a timer keeps its time while all others take longer, and has no trend."""
    found = _found(_runs(40, lambda run, index: 1.3 if run >= 25 and index != 3 else 1.0))
    assert [one.item_id for one in found] == [None]


def test_a_drift_of_one_test_is_found() -> None:
    """A test that takes 1 % more each week has a drift from the first run to the last one."""
    (trend,) = _found(_runs(52, lambda run, index: 1.01**run if index == 3 else 1.0))
    assert (trend.item_id, trend.change, trend.direction, trend.run) == ("test_3", "drift", "more", "run0")
    assert trend.ratio == pytest.approx(1.01**51, rel=0.05)


def test_memory_has_no_shift() -> None:
    """When all tests use more memory, each is found by itself."""
    found = _found(_runs(40, lambda run, _: 5000.0 if run >= 25 else 1000.0), "mem_usage")
    assert len(found) == 8
    assert {one.scm_ref for one in found} == {"commit25"}


def test_tests_that_are_gone_or_short_have_no_trend() -> None:
    """A test that the last ten runs do not have, and one of five runs, are left out."""
    assert _found(_runs(40, lambda run, index: (0.0 if run >= 30 else 1.0 + (run >= 15)) if index == 3 else 1.0)) == []
    assert _found(_runs(5, lambda run, index: 2.0 if index == 3 and run >= 2 else 1.0)) == []


def test_zeros_and_tiny_values_have_trends_only_beyond_the_least_change() -> None:
    """From zero there is no ratio; a change below 1 ms is none."""
    runs = _runs(40, lambda _, __: 1.0)
    made = [run._replace(values=run.values | {TESTS[3]: 0.0 if n < 20 else 0.05}) for n, run in enumerate(runs)]
    (trend,) = _found(made)
    assert (trend.ratio, trend.direction) == (None, "more")
    assert trend.before == pytest.approx(0.0, abs=1e-5)
    tiny = [run._replace(values=run.values | {TESTS[3]: 1e-5 if n < 20 else 5e-4}) for n, run in enumerate(runs)]
    assert _found(tiny) == []


def test_the_words_agree_with_the_trends() -> None:
    """The explanation has the number of tests, tells of the machine, and says why nothing could be found."""
    assert explain([], []) == "No run has been measured."
    assert explain([], [], selected=True) == "No run of this branch and time has been measured."
    place = TrendPlace("c", "rack7", "3.11", None, 5, 8, START, START)
    said = explain([], [place])
    assert said == "Too few runs: finding a change point takes at least 6 runs on one machine, and there are 5."
    longer = TrendPlace("c", "rack7", "3.11", None, 40, 8, START, START)
    assert explain([], [longer]) == "No test changed its level."
    found = _found(_runs(40, lambda run, index: (1.5 if index == 3 else 1.0) * (1.3 if run >= 25 else 1.0)))
    assert "All tests together changed too" in explain(found, [longer])
    found = _found(_runs(40, lambda run, index: 1.5 if index == 3 and run >= 25 else 1.0))
    assert explain(found, [longer]) == "1 test changed its level; 1 of them is slower or larger now."
