"""The result buffer."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smartmob.turrets.protocol import LONGEST_ERROR, TurretCounts
from smartmob.turrets.slices import Distribution
from smartmob.turrets.turret import result_buffer
from smartmob.turrets.turret.result_buffer import ResultBuffer


def test_a_second_is_taken_once_when_it_is_over() -> None:
    """A transaction belongs to the second in which it ended."""
    made = ResultBuffer("n", 0.0, raw=False)
    for elapsed in (0.1, 0.9, 1.0, 2.5):
        made.add(elapsed, 0.01, "", {"page": 0.005}, 0.0)
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
    made.add(0.5, 0.01, "", {}, 0.0)
    first = made.take_slices(1.0)
    made.add(0.6, 0.02, "", {}, 0.0)
    whole = Distribution()
    for part in [*first, *made.take_slices(1.5)]:
        whole.merge(part)
    assert whole.count == 2


def test_errors_and_late_starts_are_counted() -> None:
    """In the slice and for the run."""
    made = ResultBuffer("n", 0.0, raw=False)
    made.add(0.5, 0.01, "broken", {}, 0.0)
    made.add(0.5, 0.01, "broken", {}, 0.02)
    made.add(0.5, 0.01, "", {}, result_buffer.LATE_SECONDS)
    (part,) = made.take_slices(1.0)
    assert (part.count, part.errors, part.late) == (3, {"broken": 2}, 1)
    assert made.counts == TurretCounts(transactions=3, errors=2, late_starts=1, lateness=0.02)


def test_a_raw_result_has_the_documented_keys() -> None:
    """Exactly those, and the whole second as its time."""
    made = ResultBuffer("n", 1_700_000_000.4, raw=True)
    made.add(1.5, 0.25, "x", {"page": 1}, 0.0)
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
    made.add(0.5, 0.01, "", {"good": 1.0, "bad": value}, 0.0)
    whole, good = made.take_slices(1.0)
    assert (good.timer, good.count) == ("good", 1)
    assert "'bad'" in next(iter(whole.errors))


def test_timers_and_errors_above_the_limit_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    """Under a name of their own."""
    monkeypatch.setattr(result_buffer, "MOST_TIMERS", 2)
    monkeypatch.setattr(result_buffer, "MOST_ERRORS", 2)
    made = ResultBuffer("n", 0.0, raw=False)
    for number in range(5):
        made.add(0.5, 0.01, f"error {number}", {f"timer {number}": 1.0}, 0.0)
    whole, *timers = made.take_slices(1.0)
    assert whole.errors == {"error 0": 1, "error 1": 1, result_buffer.FURTHER_ERRORS: 3}
    assert {part.timer: part.count for part in timers} == {"timer 0": 1, "timer 1": 1, result_buffer.FURTHER_TIMERS: 3}


def test_an_error_text_is_cut_and_valid() -> None:
    """A long one is cut, and half a character is replaced."""
    made = ResultBuffer("n", 0.0, raw=False)
    made.add(0.5, 0.01, "x" * 5000, {}, 0.0)
    made.add(0.5, 0.01, "half \ud800", {"": 1.0}, 0.0)
    whole, unnamed = made.take_slices(1.0)
    assert whole.errors == {"x" * LONGEST_ERROR: 1, "half ?": 1}
    assert unnamed.timer == result_buffer.UNNAMED


def test_counts_of_processes_are_added() -> None:
    """Sums, and maxima of lateness and pause."""
    made = TurretCounts(users=1, transactions=2, lateness=0.5, paused=3.0)
    made.add(TurretCounts(users=1, transactions=5, lateness=0.2, paused=4.0, errors=1))
    assert made == TurretCounts(users=2, transactions=7, lateness=0.5, paused=4.0, errors=1)
