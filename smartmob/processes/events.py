"""Events that the feature `processes` publishes on the bus."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ProcessStarted:
    """A program of a process was started, for the first time or again."""

    slug: str
    at: datetime
    pid: int


@dataclass(frozen=True, slots=True)
class ProcessExited:
    """A program of a process has ended.

    `status` is the exit status, the negative number of a signal, or None when it is unknown.
    """

    slug: str
    at: datetime
    status: int | None


@dataclass(frozen=True, slots=True)
class ProcessDeleted:
    """A process was deleted, and all its descendants have ended."""

    slug: str
    at: datetime
