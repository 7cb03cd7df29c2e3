"""What happens in the feature `processes`, as it is told on the bus."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class ProcessStarted:
    """A process runs, for the first time or again."""

    slug: str
    at: datetime
    pid: int


@dataclass(frozen=True, slots=True)
class ProcessExited:
    """A process has ended: `status` is its exit status, the negative number of a signal, or None if unknown."""

    slug: str
    at: datetime
    status: int | None


@dataclass(frozen=True, slots=True)
class ProcessDeleted:
    """A process is no more."""

    slug: str
    at: datetime
