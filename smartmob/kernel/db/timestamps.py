"""The codec for `timestamptz`: every time that is read is an aware datetime in UTC; no stored value raises an error.

asyncpg returns a time without a zone for `infinity` and `-infinity`, and raises OverflowError for years before 1 and
after 9999. It stores the first and the last moment of Python as `-infinity` and `infinity`.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import asyncpg
from asyncpg.pool import PoolConnectionProxy

_Connection: TypeAlias = "asyncpg.Connection[asyncpg.Record] | PoolConnectionProxy[asyncpg.Record]"
_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)  # timestamps of PostgreSQL count microseconds from this moment
FIRST = datetime.min.replace(tzinfo=UTC)
"""The first moment of Python, which is stored as `-infinity`."""
LAST = datetime.max.replace(tzinfo=UTC)
"""The last moment of Python, which is stored as `infinity`."""
_NEGATIVE_INFINITY = -(2**63)  # PostgreSQL, src/include/datatype/timestamp.h: DT_NOBEGIN
_INFINITY = 2**63 - 1  # DT_NOEND
_SECONDS_PER_DAY = 86_400
_MICROSECONDS = 1_000_000  # in a second


def encode(moment: datetime) -> tuple[int]:
    """Return a time in microseconds since 2000. Raises TypeError for a time without a zone."""
    if moment <= FIRST:
        return (_NEGATIVE_INFINITY,)
    if moment >= LAST:
        return (_INFINITY,)
    since = moment - _EPOCH
    return ((since.days * _SECONDS_PER_DAY + since.seconds) * _MICROSECONDS + since.microseconds,)


def decode(value: tuple[int]) -> datetime:
    """Return the time of a number of microseconds since 2000, limited to the years 1 to 9999."""
    try:
        return _EPOCH + timedelta(microseconds=value[0])
    except OverflowError:
        return FIRST if value[0] < 0 else LAST


async def set_codec(connection: _Connection) -> None:
    """Let a connection of asyncpg read and write `timestamptz` by this module."""
    await connection.set_type_codec("timestamptz", schema="pg_catalog", encoder=encode, decoder=decode, format="tuple")
