"""The clock: all times have a time zone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

from smartmob.kernel.runtime import clock


def test_now_is_aware() -> None:
    """The current time has the zone UTC."""
    assert clock.now().tzinfo is UTC


def test_epoch_and_now_return_the_same_time() -> None:
    """The seconds since 1970 and the time with a zone agree."""
    before = clock.epoch()
    between = clock.now().timestamp()
    after = clock.epoch()

    # An aware time has whole microseconds.
    assert before - 1e-6 <= between <= after


def test_local_returns_the_same_time_in_another_zone() -> None:
    """Only the zone differs."""
    moment = datetime(2026, 11, 20, 12, 0, tzinfo=timezone(timedelta(hours=5)))

    assert clock.local(moment) == moment
    assert clock.local(moment).tzinfo is not None


def test_a_time_without_a_zone_counts_as_local() -> None:
    """It gets the zone of this machine, and hours and minutes stay."""
    naive = datetime(2026, 11, 20, 12, 0)

    assert clock.local(naive).replace(tzinfo=None) == naive
