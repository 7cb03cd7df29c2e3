"""The one place that reads the clock: everything else is handed times as values."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]


def now() -> datetime:
    """Return the present as an aware UTC time."""
    return datetime.now(UTC)


def epoch() -> float:
    """Return the present in seconds since 1970."""
    return time.time()


def local(moment: datetime) -> datetime:
    """Return `moment` in the time zone of this machine; a naive one is taken as local time already."""
    return moment.astimezone()


def steady() -> float:
    """Return seconds of a clock that nobody sets: it also counts while the machine sleeps, where the system can."""
    return time.clock_gettime(_STEADY)


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
