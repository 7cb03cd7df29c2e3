"""Reads the clock. Only this module does; all other code gets times as values."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

Clock = Callable[[], datetime]
"""Returns the current time."""


def now() -> datetime:
    """Return the current time in UTC, with time zone."""
    return datetime.now(UTC)


def epoch() -> float:
    """Return the current time in seconds since 1970."""
    return time.time()


def local(moment: datetime) -> datetime:
    """Return `moment` in the time zone of this machine. A time without a zone counts as local."""
    return moment.astimezone()


def steady() -> float:
    """Return the seconds of a clock that is never set. On Linux it also counts while the machine sleeps."""
    return time.clock_gettime(_STEADY)


_STEADY = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
