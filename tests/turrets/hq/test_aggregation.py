"""The aggregation of single results into slices of one second."""

from __future__ import annotations

from smartmob.turrets.hq.aggregation import OTHER_ERRORS, Aggregator
from smartmob.turrets.hq.live_seconds import LiveSeconds
from smartmob.turrets.protocol import MOST_ERROR_TEXTS


def test_closed_seconds_become_slices_and_later_ones_stay_open() -> None:
    """Seconds before the limit are returned with the number of their results."""
    aggregator = Aggregator(LiveSeconds())
    for number in (1, 1, 2, 7):
        second = aggregator.open(number)
        second.pending[""].append(0.1)
        aggregator.add_timers(second, number, [("page", 0.05)])
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
    """Its distributions are those that the live view reads."""
    live = LiveSeconds()
    second = Aggregator(live).open(3)
    assert live.of(3) == {"": [second.distributions[""]]}


def test_error_texts_beyond_the_limit_are_counted_together() -> None:
    """No error is lost, and the number of texts is bounded."""
    second = Aggregator(LiveSeconds()).open(0)
    for number in range(MOST_ERROR_TEXTS + 5):
        second.add_error(f"error {number}")
    errors = second.distributions[""].errors
    assert (len(errors), errors[OTHER_ERRORS]) == (MOST_ERROR_TEXTS + 1, 5)
