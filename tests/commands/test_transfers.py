"""Files on their way in: one attempt at a time."""

from __future__ import annotations

import asyncio
from pathlib import Path

from smartmob.commands.transfers import Transfers


async def test_the_last_attempt_of_a_transfer() -> None:
    """It ends the one before, and begins when that has let go; another transfer ends nobody."""
    transfers, told = Transfers(), []

    async def write(name: str, transfer: str | None, until: asyncio.Event) -> None:
        async with transfers.only(Path("f"), transfer):
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
