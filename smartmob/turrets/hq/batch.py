"""What is committed together: results one by one, slices, health, and how far each turret's messages are stored."""

from __future__ import annotations

import math
import secrets
from collections.abc import Collection
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import msgspec

from smartmob.turrets.hq.rows import Columns, encode, renumbered
from smartmob.turrets.protocol import Slice
from smartmob.turrets.slices import TRANSACTION

_RANDOM_BITS = 10
_BYTES_PER_RESULT = 400
"""A result without long texts is smaller, and weighs 1."""
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


class Piece(msgspec.Struct, frozen=True):
    """Results that came one by one, encoded as `rows` rows of the batch `number`; `errors` of them failed.

    `owner` is the turret of ours that numbered them, "" for those without a number.
    """

    owner: str
    number: int
    rows: int
    errors: int
    span: tuple[float, float]
    weight: int
    data: bytes


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
    weight: int = 0
    pieces: list[Piece] = field(default_factory=list)
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

    def add(self, columns: Columns, owner: str = "") -> int:
        """Add results that came one by one, at least one, and return their weight; the batch must have its number."""
        data = encode(self.run, self.number, self.rows, columns)
        errors = sum(1 for result in columns.odd.values() if result.error)
        span = min(columns.moments), max(columns.moments)
        weight = max(len(columns), len(data) // _BYTES_PER_RESULT)
        self._add(Piece(owner, self.number, len(columns), errors, span, weight, data))
        return weight

    def _add(self, piece: Piece) -> None:
        self.pieces.append(piece)
        self.rows += piece.rows
        self.weight += piece.weight
        self.span = min(self.span[0], piece.span[0]), max(self.span[1], piece.span[1])

    @property
    def owners(self) -> list[str]:
        """Return the turrets whose messages are in the batch; "" stands for what has no number."""
        return list(
            dict.fromkeys(
                [
                    *(piece.owner for piece in self.pieces),
                    *(row.uuid for row in self.slices),
                    *self.progress,
                    *(row.uuid for row in self.health),
                ]
            )
        )

    def halves(self, numbers: BatchNumbers, epoch: float) -> list[Batch]:
        """Return two batches that hold together what this one holds, or nothing when it cannot be divided.

        All of one turret stays together, so that its progress is stored with what it counts.
        """
        owners = self.owners
        if len(owners) > 1:
            half = len(owners) // 2
            return [self.only(part, numbers, epoch) for part in (owners[:half], owners[half:])]
        if owners != [""] or len(self.pieces) + len(self.slices) < 2:
            return []
        pieces, slices = len(self.pieces) // 2, (len(self.slices) + 1) // 2
        return [
            self._with(self.pieces[:pieces], self.slices[:slices], numbers, epoch),
            self._with(self.pieces[pieces:], self.slices[slices:], numbers, epoch),
        ]

    def only(self, owners: Collection[str], numbers: BatchNumbers, epoch: float) -> Batch:
        """Return what some turrets have in this batch as a batch of its own."""
        wanted = set(owners)
        made = self._with(
            [piece for piece in self.pieces if piece.owner in wanted],
            *([row for row in self.slices if row.uuid in wanted], numbers, epoch),
        )
        made.health = [row for row in self.health if row.uuid in wanted]
        made.progress = {uuid: sequence for uuid, sequence in self.progress.items() if uuid in wanted}
        return made

    def _with(self, pieces: list[Piece], slices: list[SliceRow], numbers: BatchNumbers, epoch: float) -> Batch:
        made = Batch(self.run, self.started, numbers.next(epoch), slices=slices)
        for piece in pieces:
            data = renumbered(piece.data, self.run, piece.number, made.number)
            made._add(msgspec.structs.replace(piece, number=made.number, data=data))
        own = [row for row in slices if row.slice.timer == TRANSACTION]
        counted = [row.slice for row in own if row.uuid]
        made.transactions = made.rows + sum(part.count for part in counted)
        made.errors = sum(piece.errors for piece in pieces) + sum(sum(part.errors.values()) for part in counted)
        made.folded = sum(row.slice.count for row in own if not row.uuid)
        return made

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
