"""A block that ends when its connection to the database is lost."""

from __future__ import annotations

import asyncio

import asyncpg
import pytest

from smartmob.kernel.db.connection_loss import ended_with


async def test_a_block_ends_when_its_connection_is_lost(database_url: str) -> None:
    """It ends with an error of the network, whatever it waits for."""
    connection = await asyncpg.connect(database_url)
    with pytest.raises(ConnectionResetError):
        async with ended_with(connection):
            connection.terminate()
            await asyncio.Event().wait()


async def test_other_errors_and_later_losses_are_not_changed(database_url: str) -> None:
    """The error of the block itself arrives, and the connection may be closed after the block."""
    connection = await asyncpg.connect(database_url)
    with pytest.raises(TimeoutError):
        async with ended_with(connection):
            raise TimeoutError
    async with ended_with(connection):
        assert await connection.fetchval("SELECT 1") == 1
    await connection.close()


async def test_a_block_that_fails_by_the_loss_itself_leaves_no_error_in_the_loop(database_url: str) -> None:
    """asyncpg reports the loss in the next turn of the loop, when the block has ended already."""
    errors: list[dict[str, object]] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: errors.append(context))
    connection = await asyncpg.connect(database_url)
    with pytest.raises(KeyError):
        async with ended_with(connection):
            connection.terminate()
            raise KeyError
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert errors == []
