"""Events that the feature `processes` publishes on the bus."""

from __future__ import annotations

from datetime import datetime

import msgspec


class ProcessStarted(msgspec.Struct, frozen=True):
    """A program of a process was started, for the first time or again."""

    slug: str
    at: datetime
    pid: int


class ProcessExited(msgspec.Struct, frozen=True):
    """A program of a process has ended.

    `status` is the exit status, the negative number of a signal, or None when it is unknown.
    """

    slug: str
    at: datetime
    status: int | None


class ProcessDeleted(msgspec.Struct, frozen=True):
    """A process was deleted, and all its descendants have ended."""

    slug: str
    at: datetime
