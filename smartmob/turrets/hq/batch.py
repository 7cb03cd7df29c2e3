"""Batches: the rows that are committed together, with the numbers up to which each turret's messages are stored."""

from __future__ import annotations

import math
import secrets
from collections.abc import Collection
from datetime import UTC, date, datetime, timedelta
from uuid import UUID

import msgspec

from smartmob.turrets.hq.rows import Columns, encode, renumbered
from smartmob.turrets.protocol import Slice
from smartmob.turrets.slices import TRANSACTION

_RANDOM_BITS = 10
_BYTES_PER_RESULT = 400
"""The size of a result with a weight of 1; a result without long texts is smaller."""
_DAY_SECONDS = 86_400
_EPOCH_1970 = datetime(1970, 1, 1, tzinfo=UTC)


class HealthRow(msgspec.Struct, frozen=True):
    """The health of a turret at a time."""

    at: datetime
    uuid: str
    users: int
    cpu: float
    busiest: float
    lag: float
    memory: int
    late_starts: int


class SliceRow(msgspec.Struct, frozen=True):
    """A slice of the turret `uuid`, or of results that the headquarters aggregated (uuid "")."""

    uuid: str
    slice: Slice


class EncodedRows(msgspec.Struct, frozen=True):
    """Single results, encoded as `rows` rows of the batch `number`; `errors` of them failed.

    `owner` is the uuid of the turret of smartmob that numbered them, "" for results without a number.
    """

    owner: str
    number: int
    rows: int
    errors: int
    span: tuple[float, float]
    weight: int
    data: bytes


class Batch(msgspec.Struct):
    """Rows of one run that are committed together.

    `encoded` holds `rows` single results, which are encoded when they arrive: that takes less memory than the decoded
    results, and no time between two commits. They fall into `span`, in seconds since 1970, as is `started`.
    `aggregated` counts the single results that are in the slices. A batch was `tried` when a commit was attempted: the
    database may have stored it even if no answer came.
    """

    run: UUID
    started: float
    number: int = 0
    rows: int = 0
    weight: int = 0
    encoded: list[EncodedRows] = msgspec.field(default_factory=list)
    span: tuple[float, float] = (math.inf, -math.inf)
    slices: list[SliceRow] = msgspec.field(default_factory=list)
    health: list[HealthRow] = msgspec.field(default_factory=list)
    progress: dict[str, int] = msgspec.field(default_factory=dict)
    transactions: int = 0
    errors: int = 0
    aggregated: int = 0
    tried: bool = False

    def __bool__(self) -> bool:
        return bool(self.rows or self.slices or self.health or self.progress)

    def add(self, columns: Columns, owner: str = "") -> int:
        """Add at least one single result, and return the added weight; the batch must have its number."""
        data = encode(self.run, self.number, self.rows, columns)
        errors = sum(1 for result in columns.with_texts.values() if result.error)
        span = min(columns.moments), max(columns.moments)
        weight = max(len(columns), len(data) // _BYTES_PER_RESULT)
        self._add(EncodedRows(owner, self.number, len(columns), errors, span, weight, data))
        return weight

    def _add(self, rows: EncodedRows) -> None:
        self.encoded.append(rows)
        self.rows += rows.rows
        self.weight += rows.weight
        self.span = min(self.span[0], rows.span[0]), max(self.span[1], rows.span[1])

    @property
    def owners(self) -> list[str]:
        """Return the uuids of the turrets whose messages are in the batch; "" means results without a number."""
        return list(
            dict.fromkeys(
                [
                    *(rows.owner for rows in self.encoded),
                    *(row.uuid for row in self.slices),
                    *self.progress,
                    *(row.uuid for row in self.health),
                ]
            )
        )

    def halves(self, numbers: BatchNumbers, epoch: float) -> list[Batch]:
        """Return two batches that together hold the rows of this one, or [] when it cannot be divided.

        The rows of one turret stay together, so that its progress is stored with the results that it counts.
        """
        owners = self.owners
        if len(owners) > 1:
            half = len(owners) // 2
            return [self.only(part, numbers, epoch) for part in (owners[:half], owners[half:])]
        if owners != [""] or len(self.encoded) + len(self.slices) < 2:
            return []
        encoded, slices = len(self.encoded) // 2, (len(self.slices) + 1) // 2
        return [
            self._part(self.encoded[:encoded], self.slices[:slices], numbers, epoch),
            self._part(self.encoded[encoded:], self.slices[slices:], numbers, epoch),
        ]

    def only(self, owners: Collection[str], numbers: BatchNumbers, epoch: float) -> Batch:
        """Return the rows of some turrets as a batch of their own."""
        wanted = set(owners)
        encoded = [rows for rows in self.encoded if rows.owner in wanted]
        slices = [row for row in self.slices if row.uuid in wanted]
        part = self._part(encoded, slices, numbers, epoch)
        part.health = [row for row in self.health if row.uuid in wanted]
        part.progress = {uuid: sequence for uuid, sequence in self.progress.items() if uuid in wanted}
        return part

    def _part(self, encoded: list[EncodedRows], slices: list[SliceRow], numbers: BatchNumbers, epoch: float) -> Batch:
        part = Batch(self.run, self.started, numbers.next(epoch), slices=slices)
        for rows in encoded:
            data = renumbered(rows.data, self.run, rows.number, part.number)
            part._add(msgspec.structs.replace(rows, number=part.number, data=data))
        own = [row for row in slices if row.slice.timer == TRANSACTION]
        sent = [row.slice for row in own if row.uuid]
        part.transactions = part.rows + sum(each.total_count for each in sent)
        part.errors = sum(rows.errors for rows in encoded) + sum(sum(each.errors.values()) for each in sent)
        part.aggregated = sum(row.slice.total_count for row in own if not row.uuid)
        return part

    def days(self) -> set[date]:
        """Return the days (UTC) of all rows."""
        moments = [self.started + row.slice.second for row in self.slices]
        if self.rows:
            moments += self.span
        numbers = {int(moment // _DAY_SECONDS) for moment in moments}
        return {(_EPOCH_1970 + timedelta(days=number)).date() for number in numbers} | {
            row.at.date() for row in self.health
        }

    def moment(self, second: int) -> datetime:
        """Return the time of a second of the run."""
        return _EPOCH_1970 + timedelta(seconds=self.started + second)


class BatchNumbers:
    """A generator of batch numbers that only grow, even over restarts and when the clock is set back."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, epoch: float) -> int:
        """Return the next number; `epoch` is the time in seconds since 1970."""
        fresh = (int(epoch * 1000) << _RANDOM_BITS) | secrets.randbits(_RANDOM_BITS)
        self._last = max(fresh, self._last + 1)
        return self._last
