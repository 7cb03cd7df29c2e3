"""Files on their way in: one attempt at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from smartmob.commands.transfers import TransferLocks


async def test_the_last_attempt_of_a_transfer() -> None:
    """It ends the one before, and begins when that has let go; another transfer ends nobody."""
    transfers, told = TransferLocks(), []

    async def write(name: str, transfer: str | None, until: asyncio.Event) -> None:
        async with transfers.lock(Path("f"), transfer):
            told.append(f"{name} begins")
            try:
                await until.wait()
            finally:
                told.append(f"{name} ends")

    never, at_once = asyncio.Event(), asyncio.Event()
    at_once.set()
    lost = asyncio.create_task(write("lost", "a", never))
    await asyncio.sleep(0)
    await write("other", "b", at_once)
    await write("nobody", None, at_once)
    await write("again", "a", at_once)

    assert lost.cancelled()
    assert told == [
        *("lost begins", "other begins", "other ends", "nobody begins", "nobody ends"),
        *("lost ends", "again begins", "again ends"),
    ]


async def test_an_attempt_that_ends_already() -> None:
    """It is waited for, whoever it was of: its client is gone, and it still puts down what it has."""
    transfers, told = TransferLocks(), []
    begun, putting_down, put_down = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def write_until_the_client_is_gone() -> None:
        async with transfers.lock(Path("f"), None):
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                putting_down.set()
                await put_down.wait()
                told.append("put down")

    async def write() -> None:
        async with transfers.lock(Path("f"), "a"):
            told.append("next")

    lost = asyncio.create_task(write_until_the_client_is_gone())
    await begun.wait()
    lost.cancel()
    await putting_down.wait()
    following = asyncio.create_task(write())
    await asyncio.sleep(0)
    put_down.set()
    await following

    assert told == ["put down", "next"]
    assert lost.cancelled()
