"""The result buffer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smartmob.turrets.names import UNNAMED
from smartmob.turrets.protocol import LONGEST_ERROR, ErrorKind, TurretCounts
from smartmob.turrets.slices import Distribution
from smartmob.turrets.turret import result_buffer
from smartmob.turrets.turret.failure import Failure
from smartmob.turrets.turret.result_buffer import ResultBuffer


def test_a_second_is_taken_once_when_it_is_over() -> None:
    """A transaction belongs to the second in which it ended."""
    made = ResultBuffer("n", 0.0, raw=False)
    for elapsed in (0.1, 0.9, 1.0, 2.5):
        made.add(elapsed, 0.01, None, {"page": 0.005}, 0.0)
    parts = made.take_slices(2.0)
    assert [(part.second, part.timer, part.count) for part in parts] == [
        (0, "", 2),
        (0, "page", 2),
        (1, "", 1),
        (1, "page", 1),
    ]
    assert [part.second for part in made.take_slices(float("inf"))] == [2, 2]
    assert made.take_slices(float("inf")) == []


def test_a_late_result_is_a_further_slice_of_its_second() -> None:
    """A result of a thread that comes after its second was taken."""
    made = ResultBuffer("n", 0.0, raw=False)
    made.add(0.5, 0.01, None, {}, 0.0)
    first = made.take_slices(1.0)
    made.add(0.6, 0.02, None, {}, 0.0)
    whole = Distribution()
    for part in [*first, *made.take_slices(1.5)]:
        whole.merge(part)
    assert whole.count == 2


def test_errors_and_late_starts_are_counted() -> None:
    """In the slice and for the run."""
    made = ResultBuffer("n", 0.0, raw=False)
    made.add(0.5, 0.01, Failure("broken", "ValueError"), {}, 0.0)
    made.add(0.5, 0.01, Failure("broken", "ValueError"), {}, 0.02)
    made.add(0.5, 0.01, None, {}, result_buffer.LATE_SECONDS)
    ok, failed = made.take_slices(1.0)
    assert (ok.count, ok.errors, failed.count, failed.errors, failed.late) == (1, {}, 2, {"broken": 2}, 1)
    assert failed.kinds == {"broken": ErrorKind("ValueError")}
    assert made.counts == TurretCounts(transactions=3, errors=2, late_starts=1, lateness=0.02)


def test_a_raw_result_has_the_documented_keys() -> None:
    """Exactly those, and the whole second as its time."""
    made = ResultBuffer("n", 1_700_000_000.4, raw=True)
    made.add(1.5, 0.25, Failure("x"), {"page": 1}, 0.0)
    (frame,) = made.take_frames()
    assert json.loads(frame) == {
        "turret_name": "n",
        "elapsed": 1.5,
        "epoch": 1700000001.0,
        "scriptrun_time": 0.25,
        "error": "x",
        "custom_timers": {"page": 1.0},
    }
    assert (made.take_frames(), made.take_slices(9.0)) == ([], [])


@pytest.mark.parametrize("value", ["fast", None, float("nan"), float("inf"), [1]])
def test_a_timer_that_is_not_a_number_is_an_error(value: Any) -> None:
    """The other timers of the transaction count."""
    made = ResultBuffer("n", 0.0, raw=False)
    made.add(0.5, 0.01, None, {"good": 1.0, "bad": value}, 0.0)
    whole, good = made.take_slices(1.0)
    assert (good.timer, good.count) == ("good", 1)
    assert "'bad'" in next(iter(whole.errors))


def test_timers_and_errors_above_the_limit_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a name of their own."""
    monkeypatch.setattr(result_buffer, "MOST_TIMERS", 2)
    monkeypatch.setattr(result_buffer, "MOST_ERRORS", 2)
    made = ResultBuffer("n", 0.0, raw=False)
    for number in range(5):
        made.add(0.5, 0.01, Failure(f"error {number}"), {f"timer {number}": 1.0}, 0.0)
    whole, *timers = made.take_slices(1.0)
    assert whole.errors == {"error 0": 1, "error 1": 1, result_buffer.FURTHER_ERRORS: 3}
    assert {part.timer: part.count for part in timers} == {"timer 0": 1, "timer 1": 1, result_buffer.FURTHER_TIMERS: 3}


def test_an_error_text_is_cut_and_valid() -> None:
    """A long one is cut, and half a character is replaced."""
    made = ResultBuffer("n", 0.0, raw=False)
    made.add(0.5, 0.01, Failure("x" * 5000), {}, 0.0)
    made.add(0.5, 0.01, Failure("half \ud800"), {"": 1.0}, 0.0)
    whole, unnamed = made.take_slices(1.0)
    assert whole.errors == {"x" * LONGEST_ERROR: 1, "half ?": 1}
    assert unnamed.timer == UNNAMED


def test_a_failure_without_a_duration_is_in_no_distribution() -> None:
    """It is counted, and its 0 seconds are not a value."""
    made = ResultBuffer("n", 0.0, raw=False)
    made.add(0.5, 0.0, Failure("setup: no", "ValueError", untimed=True), {}, 0.0)
    (part,) = made.take_slices(1.0)
    assert (part.count, part.untimed, part.failed, part.histogram) == (0, 1, True, "")
    assert (made.counts.transactions, made.counts.errors) == (1, 1)


def test_the_failures_of_a_timer_are_counted_with_it() -> None:
    """The transaction fails by its own error, the timer by that of its part; another timer succeeded."""
    failure = Failure("HTTP 503", "HttpError", "503")
    made = ResultBuffer("n", 0.0, raw=False)
    made.add(0.5, 0.01, failure, {"home": 0.002, "log\0in": 0.008}, 0.0, {"log\0in": failure})
    found = {(part.timer, part.failed): part for part in made.take_slices(1.0)}
    assert [*found] == [("", True), ("home", False), ("log\ufffdin", True)]
    login = found["log\ufffdin", True]
    assert (login.errors, login.kinds) == ({"HTTP 503": 1}, {"HTTP 503": ErrorKind("HttpError", "503")})


def test_a_raw_result_for_a_headquarters_of_ours_has_details() -> None:
    """The kind of its error, and the errors of its timers."""
    made = ResultBuffer("n", 0.0, raw=True, details=True)
    failure = Failure("no", "OSError", "ECONNREFUSED")
    made.add(0.5, 0.01, failure, {"login": 0.008}, 0.0, {"login": failure})
    made.add(0.5, 0.0, Failure("setup: no", untimed=True), {}, 0.0)
    first, second = (json.loads(frame)["details"] for frame in made.take_frames())
    error = {"kind": "OSError", "code": "ECONNREFUSED", "error": "no"}
    assert first == {"kind": "OSError", "code": "ECONNREFUSED", "timers": {"login": error}}
    assert second == {"untimed": True}


def test_kinds_with_one_text_stay_apart_and_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """A text with a second kind is a further error, and counts towards the limit."""
    monkeypatch.setattr(result_buffer, "MOST_ERRORS", 2)
    made = ResultBuffer("n", 0.0, raw=False)
    for kind in ("A", "B", "C", "A"):
        made.add(0.5, 0.01, Failure("no", kind), {}, 0.0)
    (part,) = made.take_slices(1.0)
    assert part.errors == {"no": 2, "no (B)": 1, result_buffer.FURTHER_ERRORS: 1}


def test_counts_of_processes_are_added() -> None:
    """Sums, and maxima of lateness and pause."""
    made = TurretCounts(users=1, transactions=2, lateness=0.5, paused=3.0)
    made.add(TurretCounts(users=1, transactions=5, lateness=0.2, paused=4.0, errors=1))
    assert made == TurretCounts(users=2, transactions=7, lateness=0.5, paused=4.0, errors=1)
