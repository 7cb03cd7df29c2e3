"""A reader of rows in PostgreSQL's binary format of COPY."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from smartmob.turrets.hq.batch import Batch
from smartmob.turrets.hq.rows import COLUMNS

_EPOCH_2000 = 946_684_800


@dataclass(frozen=True)
class Row:
    """A result as it is sent to the database; `moment` is in seconds since 1970."""

    batch: int
    seq: int
    moment: float
    elapsed: float
    epoch: float
    duration: float
    error: str
    timers: str | None
    name: str | None
    uuid: str | None
    details: str | None = None


def rows_of(batch: Batch) -> list[Row]:
    """Return the results of a batch in the order of their arrival."""
    return sorted(read(b"".join(piece.data for piece in batch.encoded)), key=lambda row: row.seq)


def read(data: bytes) -> list[Row]:
    """Return rows in the order in which they are sent."""
    rows: list[Row] = []
    place = 0
    while place < len(data):
        fields: list[bytes | None] = []
        (count,) = struct.unpack_from(">h", data, place)
        assert count == len(COLUMNS)
        place += 2
        for _ in range(count):
            (length,) = struct.unpack_from(">i", data, place)
            place += 4
            fields.append(data[place : place + length] if length >= 0 else None)
            place += max(length, 0)
        rows.append(_row(fields[1:]))
    return rows


def _row(fields: list[bytes | None]) -> Row:
    batch, seq, at, elapsed, epoch, duration = (
        struct.unpack(f">{code}", field or b"")[0] for code, field in zip("qiqddd", fields, strict=False)
    )
    error, timers, name, uuid, details = (None if field is None else field.decode() for field in fields[6:])
    assert error is not None
    return Row(batch, seq, at / 1_000_000 + _EPOCH_2000, elapsed, epoch, duration, error, timers, name, uuid, details)
