"""The history of one test, as the change detection sees it."""

from __future__ import annotations

from smartmob.metrics.verdict.item_history import HistoryPoint, ItemHistory
from smartmob.metrics.verdict.scales import SCALES


def _history(*points: float) -> ItemHistory:
    history = ItemHistory(SCALES["total_time"])
    for point in points:
        history.add(point)
    return history


def test_an_outlier_becomes_a_part_of_the_history() -> None:
    """Values are kept sorted, and what was pending is so no longer."""
    history = _history(3.0, 1.0)
    history.pending = HistoryPoint(2.0, 0.0)
    history.accept_pending()
    assert (history.points, history.level, history.pending) == ([1.0, 2.0, 3.0], 2.0, None)


def test_a_new_level_keeps_the_distances_of_the_old_one() -> None:
    """The noise of a test is known from all its levels, and its level from the newest values only."""
    history = _history(1.0, 2.0, 3.0)
    history.restart(HistoryPoint(7.0, 0.0, "r"), 9.0)
    assert (history.points, history.level, len(history)) == ([7.0, 9.0], 8.0, 5)
    assert history.distances() == [-1.0, -1.0, 0.0, 1.0, 1.0]


def test_a_rise_that_was_undone_is_none() -> None:
    """A test is slower until it is as fast as before the rise."""
    history = _history(1.0)
    history.restart(HistoryPoint(5.0, 0.0, "up"))
    assert [(rise.before, rise.run) for rise in history.rises] == [(1.0, "up")]
    history.restart(HistoryPoint(1.0, 0.0, "down"))
    assert history.rises == []
