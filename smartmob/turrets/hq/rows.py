"""Single results as rows of the database, in PostgreSQL's binary format of COPY. No I/O.

The format is described in the PostgreSQL manual, page "COPY", section "Binary Format".
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Sequence
from itertools import compress
from typing import Protocol
from uuid import UUID

import msgspec

from smartmob.turrets.hq.oct_results import OctResult
from smartmob.turrets.protocol import ResultDetails

COLUMNS = (
    "run_id",
    "batch",
    "seq",
    "at",
    "elapsed",
    "epoch",
    "scriptrun_time",
    "error",
    "custom_timers",
    "turret_name",
    "uuid",
    "details",
)
HEAD = b"PGCOPY\n\xff\r\n\0" + struct.pack(">ii", 0, 0)
"""The header of the format: its signature, no flags, no extension."""
TAIL = struct.pack(">h", -1)
"""The end of the data: a row with -1 columns."""

_EPOCH_2000_SECONDS = 946_684_800.0
"""2000-01-01 UTC in seconds since 1970: PostgreSQL counts microseconds from then."""
_KEYS = struct.Struct(">hi16siq")
_NUMBERS = struct.Struct(">iiiqididid")
_LENGTH = struct.Struct(">i")
_NUMBER_BYTES = {"i": 4, "q": 8, "d": 8}
_EMPTY, _NULL = _LENGTH.pack(0), _LENGTH.pack(-1)
_THREE_NULLS = 3 * _NULL
_NO_TEXTS = _EMPTY + 4 * _NULL
"""An empty error; custom_timers, turret_name, uuid and details are NULL."""
_FEW_ROWS = 16
"""Fewer rows without texts than these are packed one by one, which is faster for them."""


class AnyResult(Protocol):
    """The stored fields of a result; several types of decoded messages have them."""

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
    @property
    def details(self) -> ResultDetails | msgspec.UnsetType: ...


class Columns(msgspec.Struct):
    """Results in the order of their arrival, column by column.

    `moments` are their times in seconds since 1970, `durations` their `scriptrun_time` in seconds. `with_texts` holds
    the results that have an error, timers, a name or a uuid, by their index in the columns.
    """

    moments: list[float]
    elapsed: list[float]
    epochs: list[float]
    durations: list[float]
    with_texts: dict[int, AnyResult]

    @classmethod
    def of(cls, results: Sequence[AnyResult]) -> Columns:
        """Return the columns of results; their moments are the times that their turrets sent."""
        return cls._of(
            results,
            {
                index: result
                for index, result in enumerate(results)
                if result.error or result.custom_timers or result.turret_name or result.uuid
            },
        )

    @classmethod
    def of_oct(cls, results: Sequence[OctResult]) -> Columns:
        """Return the columns of results that have no uuid, in less time; see `of`."""
        return cls._of(
            results,
            {
                index: result
                for index, result in enumerate(results)
                if result.error or result.custom_timers or result.turret_name
            },
        )

    @classmethod
    def _of(cls, results: Sequence[AnyResult], with_texts: dict[int, AnyResult]) -> Columns:
        epochs = [result.epoch for result in results]
        elapsed = [result.elapsed for result in results]
        return cls(epochs, elapsed, epochs, [result.scriptrun_time for result in results], with_texts)

    def __len__(self) -> int:
        return len(self.durations)


def encode(run: UUID, batch: int, first: int, columns: Columns) -> bytes:
    """Return results as rows of a batch, whose `seq` begins with `first`.

    Rows without texts all have the same length, so they are written column by column: each byte of a column is a slice
    of all rows with a stride. That takes a quarter of the time of packing row by row, which takes a third of the time
    of the driver's own encoder (benchmarks/turrets.py). The column `seq` has the order, so rows with texts can be last.
    """
    keys = _KEYS.pack(len(COLUMNS), 16, run.bytes, 8, batch)
    at = _microseconds(columns.moments)
    seqs = range(first, first + len(columns))
    numbers = (seqs, at, columns.elapsed, columns.epochs, columns.durations)
    with_texts = columns.with_texts
    if len(columns) - len(with_texts) < _FEW_ROWS:
        return b"".join([_row(keys, index, numbers) + _texts(with_texts.get(index)) for index in range(len(columns))])
    rows = [_row(keys, index, numbers) + _texts(result) for index, result in with_texts.items()]
    wanted = bytearray(b"\1") * len(columns)
    for index in with_texts:
        wanted[index] = 0
    rows.append(bytes(_transposed(keys, numbers, wanted)))
    return b"".join(rows)


def renumbered(rows: bytes, run: UUID, old: int, new: int) -> bytes:
    """Return encoded rows of the batch `old` as rows of the batch `new`.

    Each row begins with the same keys. No text can contain these bytes, since they have NULs.
    """
    before, after = (_KEYS.pack(len(COLUMNS), 16, run.bytes, 8, batch) for batch in (old, new))
    return rows.replace(before, after)


def _microseconds(moments: Sequence[float]) -> list[int]:
    """Return times as the database stores them: microseconds since 2000."""
    if _is_constant(moments):
        return [int((moments[0] - _EPOCH_2000_SECONDS) * 1_000_000)] * len(moments)
    return [int((moment - _EPOCH_2000_SECONDS) * 1_000_000) for moment in moments]


def _is_constant(column: Sequence[float]) -> bool:
    """Return whether all values are the same; times of OCT's turrets mostly are, since they are whole seconds."""
    return column[0] == column[-1] and column.count(column[0]) == len(column)


def _row(keys: bytes, index: int, numbers: Sequence[Sequence[float]]) -> bytes:
    """Return the row of a result without its texts."""
    seqs, ats, elapsed, epochs, durations = numbers
    return keys + _NUMBERS.pack(4, seqs[index], 8, ats[index], 8, elapsed[index], 8, epochs[index], 8, durations[index])


def _transposed(keys: bytes, numbers: Sequence[Sequence[float]], wanted: bytearray) -> bytearray:
    """Return the rows without texts: those of the columns `numbers` whose byte in `wanted` is 1."""
    count = wanted.count(1)
    row = _row(keys, 0, numbers) + _NO_TEXTS
    rows = bytearray(row) * count
    offset = len(keys)
    for code, column in zip("iqddd", numbers, strict=True):
        offset += _LENGTH.size
        width = _NUMBER_BYTES[code]
        if not _is_constant(column):
            values = array(code, column if count == len(column) else [*compress(column, wanted)])
            if sys.byteorder == "little":
                values.byteswap()
            encoded = bytearray(values)
            for byte in range(width):
                rows[offset + byte :: len(row)] = encoded[byte::width]
        offset += width
    return rows


def _texts(result: AnyResult | None) -> bytes:
    """Return the columns with texts, which are empty in most results."""
    if result is None:
        return _NO_TEXTS
    columns = _with_length(text(result.error).encode()) if result.error else _EMPTY
    columns += _with_length(msgspec.json.encode(result.custom_timers)) if result.custom_timers else _NULL
    if not (result.turret_name or result.uuid):
        return columns + _THREE_NULLS
    for value in (result.turret_name, result.uuid):
        columns += _with_length(text(value).encode()) if value and isinstance(value, str) else _NULL
    details = result.details
    return columns + (_NULL if details is msgspec.UNSET else _with_length(msgspec.json.encode(details)))


def _with_length(value: bytes) -> bytes:
    return _LENGTH.pack(len(value)) + value


def text(value: str) -> str:
    """Return a text with U+FFFD in place of NUL, which PostgreSQL cannot store."""
    return value.replace("\0", "\ufffd") if "\0" in value else value
