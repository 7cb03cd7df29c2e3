"""The clock: aware times only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from smartmob.kernel.runtime import clock


def test_now_is_aware() -> None:
    """The present is in UTC and says so."""
    assert clock.now().tzinfo is UTC


def test_both_clocks_agree() -> None:
    """The seconds since 1970 and the aware time tell the same moment."""
    before = clock.epoch()
    between = clock.now().timestamp()
    after = clock.epoch()

    # An aware time has whole microseconds.
    assert before - 1e-6 <= between <= after


def test_local_keeps_the_moment() -> None:
    """Another time zone is another way to write the same moment."""
    moment = datetime(2026, 11, 20, 12, 0, tzinfo=timezone(timedelta(hours=5)))

    assert clock.local(moment) == moment
    assert clock.local(moment).tzinfo is not None


def test_a_naive_time_is_local() -> None:
    """A time without a zone gets the zone of this machine and keeps its hands."""
    naive = datetime(2026, 11, 20, 12, 0)

    assert clock.local(naive).replace(tzinfo=None) == naive
