"""Uploaded files: one attempt at a time for each file."""

from __future__ import annotations

import asyncio
from pathlib import Path

from smartmob.commands.transfers import TransferLocks


async def test_an_attempt_ends_an_earlier_one_of_the_same_transfer() -> None:
    """It begins when the earlier one has ended; attempts of other transfers end no one else."""
    transfers, events = TransferLocks(handover_seconds=0.0), []

    async def write(name: str, transfer: str | None, until: asyncio.Event) -> None:
        async with transfers.lock(Path("f"), transfer):
            events.append(f"{name} begins")
            try:
                await until.wait()
            finally:
                events.append(f"{name} ends")

    never, at_once = asyncio.Event(), asyncio.Event()
    at_once.set()
    lost = asyncio.create_task(write("lost", "a", never))
    await asyncio.sleep(0)
    await write("other", "b", at_once)
    await write("without", None, at_once)
    await write("again", "a", at_once)

    assert lost.cancelled()
    assert events == [
        "lost begins",
        "other begins",
        "other ends",
        "without begins",
        "without ends",
        "lost ends",
        "again begins",
        "again ends",
    ]


async def test_an_attempt_waits_for_one_that_is_being_cancelled() -> None:
    """A cancelled attempt still writes what it has received, whichever transfer it is of."""
    transfers, events = TransferLocks(), []
    begun, writing_rest, rest_written = asyncio.Event(), asyncio.Event(), asyncio.Event()

    async def write_until_the_client_is_gone() -> None:
        async with transfers.lock(Path("f"), None):
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                writing_rest.set()
                await rest_written.wait()
                events.append("rest written")

    async def write() -> None:
        async with transfers.lock(Path("f"), "a"):
            events.append("next")

    lost = asyncio.create_task(write_until_the_client_is_gone())
    await begun.wait()
    lost.cancel()
    await writing_rest.wait()
    following = asyncio.create_task(write())
    await asyncio.sleep(0)
    rest_written.set()
    await following

    assert events == ["rest written", "next"]
    assert lost.cancelled()


async def test_an_attempt_of_another_client_waits_for_one_whose_client_has_just_disconnected() -> None:
    """The service learns only later that the first client is gone, and both attempts write one after the other."""
    transfers, events = TransferLocks(handover_seconds=800.0), []
    begun, asked = asyncio.Event(), asyncio.Event()

    async def write_without_end() -> None:
        async with transfers.lock(Path("f"), "a"):
            begun.set()
            try:
                await asyncio.Event().wait()
            finally:
                events.append("lost")

    async def write_after_it() -> None:
        asked.set()
        async with transfers.lock(Path("f"), "b"):
            events.append("next")

    lost = asyncio.create_task(write_without_end())
    await begun.wait()
    following = asyncio.create_task(write_after_it())
    await asked.wait()
    lost.cancel()
    await following

    assert events == ["lost", "next"]
