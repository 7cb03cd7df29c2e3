"""The codec for `timestamptz`: boundary values survive the way to the database and back."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from smartmob.kernel.db import timestamps

BOUNDARIES = (
    timestamps.FIRST,
    timestamps.FIRST + timedelta(microseconds=1),
    datetime(1899, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1969, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(1970, 1, 1, tzinfo=UTC),
    datetime(1999, 12, 31, 23, 59, 59, 999999, tzinfo=UTC),
    datetime(2000, 1, 1, tzinfo=UTC),
    datetime(2038, 1, 19, 3, 14, 8, tzinfo=UTC),
    datetime(2099, 1, 1, tzinfo=UTC),
    datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC),
    timestamps.LAST,
)


@given(st.datetimes(timezones=st.just(UTC)))
@example(timestamps.FIRST)
@example(timestamps.LAST)
def test_each_time_of_python_is_decoded_as_it_was_encoded(moment: datetime) -> None:
    """A time that was encoded is decoded as the same time, with its zone."""
    found = timestamps.decode(timestamps.encode(moment))
    assert found == moment
    assert found.tzinfo is UTC


def test_a_time_without_a_zone_is_refused() -> None:
    """A time without a zone does not say which moment it is."""
    with pytest.raises(TypeError):
        timestamps.encode(datetime(2026, 1, 1))


async def test_boundary_times_survive_the_database(opened: Any) -> None:
    """A time as a parameter, in an array and in a COPY is read back as it was written, with its zone."""
    database = await opened()
    elsewhere = datetime(1, 1, 1, 5, tzinfo=timezone(timedelta(hours=5)))
    for given_time in (*BOUNDARIES, elsewhere):
        assert await database.fetchval("SELECT $1::timestamptz", given_time) == given_time
    found = await database.fetchval("SELECT $1::timestamptz[]", [*BOUNDARIES, None])
    assert found == [*BOUNDARIES, None]
    assert all(moment.tzinfo is not None for moment in found[:-1])
    connection = await database.connect()
    await connection.execute("CREATE TEMP TABLE boundaries (at timestamptz)")
    await connection.copy_records_to_table("boundaries", records=[(moment,) for moment in BOUNDARIES])
    rows = await connection.fetch("SELECT at FROM boundaries")
    assert [row["at"] for row in rows] == list(BOUNDARIES)
    await connection.close()


async def test_times_that_python_does_not_have_are_read_as_its_first_or_last(opened: Any) -> None:
    """A time that another program stored does not make a query fail."""
    database = await opened()
    for text in ("-infinity", "4000-01-01 BC"):
        assert await database.fetchval(f"SELECT timestamptz '{text}'") == timestamps.FIRST, text
    for text in ("infinity", "20000-01-01", "294276-12-31"):
        assert await database.fetchval(f"SELECT timestamptz '{text}'") == timestamps.LAST, text
