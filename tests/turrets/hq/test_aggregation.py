"""The aggregation of single results into slices of one second."""

from __future__ import annotations

from smartmob.turrets.hq.aggregation import OTHER_ERRORS, Aggregator, failed_timers
from smartmob.turrets.hq.live_seconds import LiveSeconds
from smartmob.turrets.protocol import MOST_ERROR_TEXTS, ErrorKind, ResultDetails, TimerError


def test_closed_seconds_become_slices_and_later_ones_stay_open() -> None:
    """Seconds before the limit are returned with the number of their results."""
    aggregator = Aggregator(LiveSeconds())
    for number in (1, 1, 2, 7):
        second = aggregator.open(number)
        second.pending[""].append(0.1)
        aggregator.add_timers(second, number, [("page", 0.05)], {})
    aggregator.flush()
    rows, aggregated = aggregator.close(5)
    assert [(row.uuid, row.slice.second, row.slice.timer, row.slice.count) for row in rows] == [
        ("", 1, "", 2),
        ("", 1, "page", 2),
        ("", 2, "", 1),
        ("", 2, "page", 1),
    ]
    assert (aggregated, len(aggregator)) == (3, 1)


def test_an_open_second_is_in_the_live_view() -> None:
    """Its outcomes are those that the live view reads."""
    live = LiveSeconds()
    second = Aggregator(live).open(3)
    assert live.of(3) == {"": [second.outcomes[""]]}


def test_error_texts_beyond_the_limit_are_counted_together() -> None:
    """No error is lost, and the number of texts is bounded."""
    second = Aggregator(LiveSeconds()).open(0)
    for number in range(MOST_ERROR_TEXTS + 5):
        second.fail("", 0.1, f"error {number}")
    errors = second.outcomes[""].failed.errors
    assert (len(errors), errors[OTHER_ERRORS]) == (MOST_ERROR_TEXTS + 1, 5)


def test_failures_make_a_slice_of_their_own() -> None:
    """With their durations, texts and kinds; one without a duration is in no histogram."""
    aggregator = Aggregator(LiveSeconds())
    second = aggregator.open(0)
    second.pending[""] += [0.1, 0.2]
    second.fail("", 3.0, "no", ErrorKind("HttpError", "503"))
    second.fail("", None, "setup: no")
    aggregator.add_timers(second, 0, [("login", 3.0), ("home", 0.1)], {"login": TimerError("HttpError", error="no")})
    aggregator.flush()
    rows, aggregated = aggregator.close(1)
    found = [(row.slice.timer, row.slice.failed, row.slice.count, row.slice.untimed) for row in rows]
    assert found == [("", False, 2, 0), ("", True, 1, 1), ("login", True, 1, 0), ("home", False, 1, 0)]
    assert (aggregated, rows[1].slice.kinds["no"]) == (4, ErrorKind("HttpError", "503"))


def test_a_turret_that_does_not_tell_which_timer_failed() -> None:
    """All timers of a failed transaction count as failed, none of a good one; ours tells exactly."""
    assert [*failed_timers("no", ["a", "b"], None)] == ["a", "b"]
    assert failed_timers("", ["a"], None) == {}
    assert [*failed_timers("no", ["a", "b"], ResultDetails(timers={"b": TimerError(error="x")}))] == ["b"]
