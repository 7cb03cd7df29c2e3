"""Counting what cannons did."""

from __future__ import annotations

import json
from typing import Any

import pytest

from smartmob.turrets.protocol import LONGEST_ERROR, TurretCounts
from smartmob.turrets.slices import Distribution
from smartmob.turrets.turret import result_buffer
from smartmob.turrets.turret.result_buffer import ResultBuffer


def test_slices_of_seconds_that_are_over() -> None:
    """A transaction belongs to the second in which it ended; a second is given away when it is over, once."""
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


def test_a_straggler() -> None:
    """What a thread tells late about a second that was given away comes as a further part of it."""
    made = ResultBuffer("n", 0.0, raw=False)
    made.add(0.5, 0.01, "", {}, 0.0)
    first = made.take_slices(1.0)
    made.add(0.6, 0.02, "", {}, 0.0)
    whole = Distribution()
    for part in [*first, *made.take_slices(1.5)]:
        whole.merge(part)
    assert whole.count == 2


def test_counts() -> None:
    """Errors and late starts are counted, in the slice and for the run."""
    made = ResultBuffer("n", 0.0, raw=False)
    made.add(0.5, 0.01, "broken", {}, 0.0)
    made.add(0.5, 0.01, "broken", {}, 0.02)
    made.add(0.5, 0.01, "", {}, result_buffer.LATE)
    (part,) = made.take_slices(1.0)
    assert (part.count, part.errors, part.late) == (3, {"broken": 2}, 1)
    assert made.counts == TurretCounts(transactions=3, errors=2, late_starts=1, lateness=0.02)


def test_raw_results() -> None:
    """Each is a message with exactly the documented keys, and with the whole second as its time."""
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
def test_a_timer_that_is_no_number(value: Any) -> None:
    """It is an error of the transaction; the other timers count."""
    made = ResultBuffer("n", 0.0, raw=False)
    made.add(0.5, 0.01, "", {"good": 1.0, "bad": value}, 0.0)
    whole, good = made.take_slices(1.0)
    assert (good.timer, good.count) == ("good", 1)
    assert "'bad'" in next(iter(whole.errors))


def test_a_script_without_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names of timers and texts of errors that never end are counted together beyond a limit."""
    monkeypatch.setattr(result_buffer, "MOST_TIMERS", 2)
    monkeypatch.setattr(result_buffer, "MOST_ERRORS", 2)
    made = ResultBuffer("n", 0.0, raw=False)
    for number in range(5):
        made.add(0.5, 0.01, f"error {number}", {f"timer {number}": 1.0}, 0.0)
    whole, *timers = made.take_slices(1.0)
    assert whole.errors == {"error 0": 1, "error 1": 1, result_buffer.FURTHER_ERRORS: 3}
    assert {part.timer: part.count for part in timers} == {"timer 0": 1, "timer 1": 1, result_buffer.FURTHER_TIMERS: 3}


def test_texts_that_cannot_be_sent() -> None:
    """A long one is cut, and half a character is replaced."""
    made = ResultBuffer("n", 0.0, raw=False)
    made.add(0.5, 0.01, "x" * 5000, {}, 0.0)
    made.add(0.5, 0.01, "half \ud800", {"": 1.0}, 0.0)
    whole, unnamed = made.take_slices(1.0)
    assert whole.errors == {"x" * LONGEST_ERROR: 1, "half ?": 1}
    assert unnamed.timer == result_buffer.UNNAMED


def test_counts_of_several_processes() -> None:
    """Sums, but for the longest delay and the longest pause."""
    made = TurretCounts(users=1, transactions=2, lateness=0.5, paused=3.0)
    made.add(TurretCounts(users=1, transactions=5, lateness=0.2, paused=4.0, errors=1))
    assert made == TurretCounts(users=2, transactions=7, lateness=0.5, paused=4.0, errors=1)
