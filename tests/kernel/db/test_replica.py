"""Tests of the delay of a replica; `tests/kernel/embedded/test_streaming.py` reads from a real one."""

from __future__ import annotations

import asyncpg
import pytest

from smartmob.errors import DatabaseError
from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.replica import ReplayDelay, one_line


def test_a_replica_that_has_replayed_all_is_not_behind() -> None:
    """The position that the database had a moment ago is enough."""
    delay = ReplayDelay()
    assert delay.seconds(10.0, 500, 500) == 0
    assert delay.seconds(11.0, 700, 900) == 0


def test_the_delay_is_the_age_of_the_newest_position_that_was_replayed() -> None:
    """A replica that is cut off gets older with each look, however often it is looked at."""
    delay = ReplayDelay()
    assert delay.seconds(10.0, 500, 500) == 0
    assert delay.seconds(11.0, 600, 500) == 1.0
    assert delay.seconds(12.0, 700, 600) == 1.0
    assert delay.seconds(20.0, 800, 650) == 9.0
    assert delay.seconds(21.0, 900, 900) == 0


def test_the_delay_is_unknown_before_anything_was_replayed() -> None:
    """A service that has just started cannot know when the database wrote what the replica lacks."""
    delay = ReplayDelay()
    assert delay.seconds(10.0, 500, 400) is None
    assert delay.seconds(11.0, 600, 450) is None
    assert delay.seconds(12.0, 700, 500) == 2.0


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (TimeoutError(), "it does not answer in time"),
        (ConnectionRefusedError(111, "connect to 10.0.0.1"), "it does not answer"),
        (asyncpg.CannotConnectNowError("the database system is starting up\nDETAIL: x"), "the database system is star"),
    ],
)
def test_a_failure_of_the_replica_is_told_in_one_line(error: Exception, text: str) -> None:
    """The line has no address."""
    found = one_line(error)
    assert found.startswith(text)
    assert "\n" not in found and "10.0.0.1" not in found


async def test_a_mistake_in_the_address_of_the_replica_is_refused(database_url: str) -> None:
    """The message does not repeat the password."""
    database = Database(DatabaseSettings(url=database_url, read_url="postgresql://u:hunter2@[x:1/y"), None)
    try:
        with pytest.raises(DatabaseError, match="the URL of the replica cannot be used") as refused:
            await database.open()
        assert "hunter2" not in str(refused.value)
    finally:
        await database.close()
