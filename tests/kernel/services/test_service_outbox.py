"""The records of a service that has joined another one: stored with what they tell of, once and in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from smartmob.kernel.db.database import Connection, Database
from smartmob.kernel.db.writer import Commit, GroupCommitWriter, Submission
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.services.service_outbox import ServiceOutbox
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.settings import Settings


def _outbox(database: Database, name: str = "here", most: int = 1_000) -> ServiceOutbox:
    return ServiceOutbox(database, ServiceRegistry(database, Settings(service_name=name)), most)


def _encode(word: str) -> tuple[str, object] | None:
    return None if word.startswith("_") else ("word", word)


def _commit(outbox: ServiceOutbox) -> Commit[str]:
    """Return the commit of words; `bad` is refused by the database."""

    async def store(connection: Connection, batch: Sequence[Submission[str]]) -> None:
        words = [word for submission in batch for word in submission.rows]
        await connection.execute("SELECT CASE WHEN 'bad' = ANY ($1::text[]) THEN 1 / 0 END", words)

    return outbox.forwarding(store, _encode)


async def _words(outbox: ServiceOutbox) -> list[tuple[int, bytes]]:
    return [(record.number, bytes(record.value)) for record in await outbox.first_records(10_000)]


async def test_records_are_written_with_the_rows_and_read_in_their_order(database: Database) -> None:
    """Two writers at a time share one numbering; a row that is refused leaves none, and another service has its own."""
    outbox, tasks = _outbox(database), TaskRegistry()
    writers = [GroupCommitWriter(name, database, _commit(outbox)) for name in ("first", "second")]
    for writer in writers:
        await writer.start(tasks)
    await asyncio.gather(*(writer.put([f"w{n}", "_not"]) for n in range(10) for writer in writers))
    with pytest.raises(Exception, match="division by zero"):
        await writers[0].put(["bad"])
    found = await _words(outbox)
    assert [number for number, _ in found] == list(range(1, 21))
    assert sorted(word for _, word in found) == sorted(f'"w{n}"'.encode() for n in (*range(10), *range(10)))
    assert await _words(_outbox(database, "there")) == []
    await outbox.delivered(19)
    assert [number for number, _ in await _words(_outbox(database))] == [20]
    for writer in writers:
        await writer.close()
    await tasks.close()


async def test_the_first_record_wakes_the_one_that_waits(database: Database) -> None:
    """The id of the numbering is known then, and the same after a restart until it is renewed."""
    outbox, tasks = _outbox(database), TaskRegistry()
    writer = GroupCommitWriter("words", database, _commit(outbox))
    await writer.start(tasks)
    waiting = asyncio.ensure_future(outbox.wait_for_records())
    await writer.put(["_not"])
    assert not waiting.done()
    await writer.put(["one"])
    await waiting
    again = _outbox(database)
    await again.wait_for_records()
    assert again.id == outbox.id
    await again.renew_id()
    assert again.id not in ("", outbox.id)
    await writer.close()
    await tasks.close()


async def test_when_too_many_wait_the_oldest_are_dropped_and_counted(database: Database) -> None:
    """The other service is told how many, also after a restart."""
    outbox, tasks = _outbox(database, most=3), TaskRegistry()
    writer = GroupCommitWriter("words", database, _commit(outbox))
    await writer.start(tasks)
    for number in range(5):
        await writer.put([f"w{number}"])
    assert await _words(outbox) == [(3, b'"w2"'), (4, b'"w3"'), (5, b'"w4"')]
    again = _outbox(database, most=3)
    await again.wait_for_records()
    assert outbox.dropped == again.dropped == 2
    assert len(await again.first_records(1)) == 1
    await writer.close()
    await tasks.close()
