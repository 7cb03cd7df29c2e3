"""What is committed together: results one by one, slices, health, and how far each turret's messages are stored."""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import msgspec

from smartmob.turrets.protocol import Slice
from smartmob.turrets.rows import Columns, encode

_RANDOM_BITS = 10
_DAY = 86_400
_MOMENT_ZERO = datetime(1970, 1, 1, tzinfo=UTC)


class HealthRow(msgspec.Struct, frozen=True):
    """How a turret did at a time."""

    at: datetime
    uuid: str
    users: int
    cpu: float
    busiest: float
    lag: float
    memory: int
    late_starts: int


class SliceRow(msgspec.Struct, frozen=True):
    """A slice of the turret `uuid`; "" stands for what was folded here."""

    uuid: str
    slice: Slice


@dataclass(slots=True)
class Batch:
    """Rows of one run; `folded` of the results that came one by one are in its slices.

    It was `tried` when an attempt to commit it was made, whose outcome nobody may know. `pieces` are `rows` of results
    that came one by one, encoded when they came: that takes less memory than the results, and no time between two
    commits. They fall into `span`, in seconds since 1970, as `started` is.
    """

    run: UUID
    started: float
    number: int = 0
    rows: int = 0
    pieces: list[bytes] = field(default_factory=list)
    span: tuple[float, float] = (math.inf, -math.inf)
    slices: list[SliceRow] = field(default_factory=list)
    health: list[HealthRow] = field(default_factory=list)
    progress: dict[str, int] = field(default_factory=dict)
    transactions: int = 0
    errors: int = 0
    folded: int = 0
    tried: bool = False

    def __bool__(self) -> bool:
        return bool(self.rows or self.slices or self.health or self.progress)

    def add(self, columns: Columns) -> None:
        """Add results that came one by one, at least one; the batch must have its number."""
        first, last = self.span
        self.span = min(first, *columns.moments), max(last, *columns.moments)
        self.pieces.append(encode(self.run, self.number, self.rows, columns))
        self.rows += len(columns)

    def days(self) -> set[date]:
        """Return the days into which the rows fall."""
        moments = [self.started + row.slice.second for row in self.slices]
        if self.rows:
            moments += self.span
        numbers = {int(moment // _DAY) for moment in moments}
        return {(_MOMENT_ZERO + timedelta(days=number)).date() for number in numbers} | {
            row.at.date() for row in self.health
        }

    def moment(self, second: int) -> datetime:
        """Return the time of a second of the run."""
        return _MOMENT_ZERO + timedelta(seconds=self.started + second)


class BatchNumbers:
    """Gives batches numbers that grow with time, also over restarts and when a clock was set back."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, epoch: float) -> int:
        """Return the next number."""
        fresh = (int(epoch * 1000) << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
        self._last = max(fresh, self._last + 1)
        return self._last
