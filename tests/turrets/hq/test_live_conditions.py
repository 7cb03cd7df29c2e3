"""Conditions while a run fires: what they come to, second by second, and when one of them stops the run."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.turrets.hq.live_conditions import LiveConditions, longest_rampup
from smartmob.turrets.model import RunConfig, TurretConfig
from smartmob.turrets.protocol import Slice
from tests.turrets.messages import slice_of


def _live(*conditions: Any) -> LiveConditions:
    return LiveConditions.of(RunConfig(run_time=60, fail_if=list(conditions)))


def _abort(condition: str, after: float = 0.0) -> Any:
    from smartmob.turrets.model import ConditionConfig

    return ConditionConfig(condition=condition, abort=True, abort_after=after)


def _failed(second: int, number: int, timer: str = "") -> Slice:
    return slice_of(second, [0.01] * number, timer, {"boom": number}, failed=True)


def test_a_condition_aborts_only_if_it_says_so() -> None:
    """Without `abort` it is shown as failed, and the run goes on."""
    live = _live("errors>1%")
    live.add([slice_of(0, [0.01] * 50), _failed(0, 150)])
    assert live.evaluate(3, 0) is None
    assert [(each.state, each.samples) for each in live.results] == [("failed", 200)]


def test_the_reason_names_the_condition_and_the_value() -> None:
    """Both stand in the reason of the run."""
    live = _live("p99>1s", _abort("errors>1%"))
    live.add([slice_of(0, [0.01] * 100), _failed(0, 100)])
    assert live.evaluate(3, 0) == "aborted by the condition errors>1%: errors 50.00% > 1.00%, 4,900% beyond"
    assert [(each.state, each.aborted) for each in live.results] == [("passed", False), ("failed", True)]


def test_nothing_aborts_before_its_delay() -> None:
    """From that second on it does."""
    live = _live(_abort("errors>1%", after=10))
    live.add([_failed(0, 500)])
    assert live.evaluate(9.9, 0) is None
    assert live.results[0].state == "failed"
    assert live.evaluate(10.0, 0) is not None


@pytest.mark.parametrize(
    ("condition", "few", "enough"),
    [("p99>1ms", 99, 100), ("p99.9>1ms", 999, 1000), ("avg>1ms", 9, 10), ("errors>1%", 99, 100), ("errors>0", 0, 1)],
)
def test_few_values_do_not_abort(condition: str, few: int, enough: int) -> None:
    """One slow or failed transaction at the start is no percentile and no share."""
    make = _failed if condition.startswith("errors") else lambda second, number: slice_of(second, [0.01] * number)
    live = _live(_abort(condition))
    if few:
        live.add([make(0, few)])
    assert live.evaluate(3, 0) is None
    live.add([make(1, enough - few)])
    assert live.evaluate(4, 0) is not None


def test_a_time_of_which_all_failed_aborts() -> None:
    """A target that only fails has no latency, which does not mean that it is fast."""
    live = _live(_abort("p99>1s"))
    live.add([_failed(0, 99)])
    assert live.evaluate(3, 0) is None
    live.add([_failed(1, 1)])
    assert "all 100 failed" in str(live.evaluate(4, 0))


def test_a_timer_that_did_not_occur_is_open() -> None:
    """It may still occur: at the end it counts as met."""
    live = _live(_abort("login:p99>1s"), _abort("login:errors>0"))
    live.add([slice_of(0, [5.0] * 1000)])
    assert live.evaluate(30, 0) is None
    assert [each.state for each in live.results] == ["open", "open"]


def test_only_the_timer_of_a_condition_counts() -> None:
    """Slow transactions do not abort by a condition on another timer, and the other way round."""
    live = _live(_abort("login:p99>1s"))
    live.add([slice_of(0, [5.0] * 1000), slice_of(0, [0.1] * 1000, "login")])
    assert live.evaluate(30, 0) is None
    live.add([slice_of(1, [5.0] * 1000, "login")])
    assert live.evaluate(31, 0) is not None


def test_a_rate_waits_for_the_rampup() -> None:
    """In the first seconds and during the rampup the rate is low by plan."""
    live = _live(_abort("rate<100"))
    live.add([slice_of(0, [0.01] * 20)])
    assert live.evaluate(14, 0) is None
    assert live.evaluate(34, 20) is None
    assert live.results[0].state == "open"
    assert live.evaluate(35, 20) is not None


def test_a_rate_without_any_value_aborts_if_it_is_too_low() -> None:
    """A target that never answers has the rate 0; a highest rate is not exceeded by it."""
    assert _live(_abort("rate<100")).evaluate(20, 0) is not None
    assert _live(_abort("rate>100")).evaluate(20, 0) is None


@given(st.integers(1, 500), st.integers(15, 600))
def test_missing_results_of_the_last_seconds_abort_no_steady_rate(rate: int, elapsed: int) -> None:
    """The turrets' last results are on their way: a steady rate at its limit is neither too low nor too high."""
    live = _live(_abort(f"rate<{rate}"), _abort(f"rate>{rate}"))
    live.add([_failed(second, rate) for second in range(elapsed - 5)])
    assert live.evaluate(float(elapsed), 0) is None


@pytest.mark.parametrize("condition", ["count<10", "errors<1", "max<1s", "min>1s", "untrusted"])
def test_what_only_the_end_decides_is_open(condition: str) -> None:
    """A count below its limit at the start says nothing."""
    live = _live(condition)
    live.add([slice_of(0, [0.5])])
    live.evaluate(30, 0)
    assert live.results[0].state == "open"


def test_a_slice_that_cannot_be_read_is_left_out() -> None:
    """The others count."""
    live = _live(_abort("errors>1%"))
    live.add([Slice(second=0, timer="", count=1, total=1.0, squares=1.0, minimum=1.0, maximum=1.0, histogram="x")])
    live.add([_failed(0, 100)])
    assert live.evaluate(3, 0) is not None


def test_a_configuration_of_an_earlier_version_has_no_conditions() -> None:
    """A wrong condition that was stored as an unknown key does not end the service."""
    assert _live("nonsense").conditions == ()


def test_the_longest_rampup_is_that_of_all_turrets() -> None:
    """Of the project and of the turrets that fire."""
    config = RunConfig(run_time=1, turrets=[TurretConfig(name="a", rampup=5), "b.json"])
    assert longest_rampup(config, [None, 3.0]) == 5
    assert longest_rampup(config, [8.0]) == 8
    assert longest_rampup(RunConfig(run_time=1), []) == 0


def test_the_warm_up_is_left_out() -> None:
    """Nothing is decided within it, and its values are in no statistic, as at the end of the run."""
    live = LiveConditions.of(RunConfig(run_time=60, warm_up=2.5, fail_if=[_abort("errors>1%")]))
    live.add([_failed(second, 500) for second in range(3)])
    assert live.evaluate(2, 0) is None
    assert (live.results[0].state, live.results[0].text) == ("open", "the warm-up is left out")
    live.add([slice_of(3, [0.01] * 500)])
    assert live.evaluate(5, 0) is None
    assert (live.results[0].state, live.results[0].samples) == ("passed", 500)
