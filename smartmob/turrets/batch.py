"""What is committed together: results one by one, slices, health, and how far each turret's messages are stored."""

from __future__ import annotations

import secrets
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Protocol
from uuid import UUID

import msgspec

from smartmob.turrets.protocol import Slice

_RANDOM_BITS = 10
_EPOCH_2000 = 946_684_800.0
_DAY = 86_400
_MOMENT_ZERO = datetime(1970, 1, 1, tzinfo=UTC)

_COPY_HEAD = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
_COPY_TAIL = struct.pack(">h", -1)
_NULL = struct.pack(">i", -1)
_HEAD = struct.Struct(">hi16siq")
_FIGURES = struct.Struct(">iiiqididid")
_ORDINARY = struct.Struct(">iiiqidididiiii")
_LENGTH = struct.Struct(">i")
_CHUNK_ROWS = 2_000

RESULT_COLUMNS = (
    *("run_id", "batch", "seq", "at", "elapsed", "epoch", "scriptrun_time", "error", "custom_timers", "turret_name"),
    "uuid",
)


class AnyResult(Protocol):
    """What is stored of a result, whatever it was decoded as."""

    @property
    def elapsed(self) -> float: ...
    @property
    def epoch(self) -> float: ...
    @property
    def scriptrun_time(self) -> float: ...
    @property
    def error(self) -> str | None: ...
    @property
    def custom_timers(self) -> dict[str, float] | None: ...
    @property
    def turret_name(self) -> str | msgspec.UnsetType | None: ...
    @property
    def uuid(self) -> str | msgspec.UnsetType: ...


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

    It was `tried` when an attempt to commit it was made, whose outcome nobody may know. `moments` are the places of
    the results in time, in seconds since 1970, as `started` is.
    """

    run: UUID
    started: float
    number: int = 0
    results: list[AnyResult] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)
    slices: list[SliceRow] = field(default_factory=list)
    health: list[HealthRow] = field(default_factory=list)
    progress: dict[str, int] = field(default_factory=dict)
    transactions: int = 0
    errors: int = 0
    folded: int = 0
    tried: bool = False

    def __bool__(self) -> bool:
        return bool(self.results or self.slices or self.health or self.progress)

    def days(self) -> set[date]:
        """Return the days into which the rows fall."""
        moments = [self.started + row.slice.second for row in self.slices]
        if self.moments:
            moments += (min(self.moments), max(self.moments))
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


def encode_results(batch: Batch) -> Iterator[bytes]:
    """Yield the results in the binary format of COPY.

    The driver's own way, column by column through its codecs, takes three times as long (benchmarks/turrets.py).
    """
    head = _HEAD.pack(len(RESULT_COLUMNS), 16, batch.run.bytes, 8, batch.number)
    ordinary, figures = _ORDINARY.pack, _FIGURES.pack
    before, at = -1.0, 0
    yield _COPY_HEAD
    for start in range(0, len(batch.results), _CHUNK_ROWS):
        parts: list[bytes] = []
        add = parts.append
        rows = zip(batch.results[start : start + _CHUNK_ROWS], batch.moments[start : start + _CHUNK_ROWS], strict=True)
        for seq, (result, moment) in enumerate(rows, start):
            # Turrets of OCT tell whole seconds, so most moments are the one before.
            if moment != before:
                before, at = moment, int((moment - _EPOCH_2000) * 1_000_000)
            elapsed, epoch, took = result.elapsed, result.epoch, result.scriptrun_time
            add(head)
            if result.error or result.custom_timers or result.turret_name or result.uuid:
                add(figures(4, seq, 8, at, 8, elapsed, 8, epoch, 8, took))
                add(_texts(result))
            else:
                add(ordinary(4, seq, 8, at, 8, elapsed, 8, epoch, 8, took, 0, -1, -1, -1))
        yield b"".join(parts)
    yield _COPY_TAIL


def _texts(result: AnyResult) -> bytes:
    """Return the columns that most results leave empty."""
    error = text(result.error).encode() if result.error else b""
    columns = _LENGTH.pack(len(error)) + error
    if result.custom_timers:
        timers = msgspec.json.encode(result.custom_timers)
        columns += _LENGTH.pack(len(timers)) + timers
    else:
        columns += _NULL
    for given in (result.turret_name, result.uuid):
        if isinstance(given, str):
            known = text(given).encode()
            columns += _LENGTH.pack(len(known)) + known
        else:
            columns += _NULL
    return columns


def text(value: str) -> str:
    """Return a text without the one character that PostgreSQL cannot store."""
    return value.replace("\0", "\ufffd") if "\0" in value else value
