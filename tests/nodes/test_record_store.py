"""The tables of the records of nodes: stored once, and in order."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest

from smartmob.kernel.db.database import Database
from smartmob.nodes.protocol import Record
from smartmob.nodes.record_store import RecordStore
from tests.nodes.test_records import EVENT, JOB, NOW, _record


@pytest.fixture(name="store")
def _store(database: Database) -> RecordStore:
    return RecordStore(database)


def _event(number: int) -> Record:
    event: dict[str, Any] = {**EVENT["event"], "at": NOW + timedelta(seconds=number)}  # type: ignore[dict-item]  # untyped
    return _record("process_event", {"id": UUID(int=number), "event": event}, number)


async def _kept(store: RecordStore, node: str | None = "rack7") -> list[int]:
    return [event.id.int for event in await store.events(node, None, None, 100)]


async def test_records_that_come_again_are_stored_once(store: RecordStore) -> None:
    """The answer says up to which number all are stored."""
    assert await store.put("rack7", "j", [_event(1), _event(2)], 0, None) == 2
    assert await store.put("rack7", "j", [_event(1), _event(2), _event(3)], 5, None) == 3
    assert await store.put("rack7", "j", [_event(2)], 5, None) == 3
    assert await _kept(store) == [1, 2, 3]
    assert await store.progress("rack7") == (3, 5)
    assert await store.progress("rack8") == (0, 0)


async def test_a_record_that_is_not_valid_does_not_stop_the_others(store: RecordStore) -> None:
    """It is passed over, with what is around it stored."""
    rubbish = _record("process_event", b"[]", 2)
    assert await store.put("rack7", "j", [_event(1), rubbish, _event(3)], 0, None) == 3
    assert await _kept(store) == [1, 3]


async def test_another_journal_counts_anew(store: RecordStore) -> None:
    """A machine that was set up again begins at 1, and a copy loses nothing."""
    await store.put("rack7", "old", [_event(1), _event(9)], 0, None)
    assert await store.put("rack7", "new", [_event(2)], 0, None) == 2
    assert await _kept(store) == [1, 2, 9]


async def test_nodes_are_apart(store: RecordStore) -> None:
    """Each has its own numbers, events and jobs; a node that is removed takes its own."""
    for node in ("rack7", "rack8"):
        await store.put(node, "j", [_event(1), _record("job", JOB, 2)], 0, None)
    assert await _kept(store, None) == [1, 1]
    assert [job.node for job in await store.jobs(None, None, None, 9)] == ["rack7", "rack8"]
    await store.delete("rack7")
    assert await _kept(store) == []
    assert [job.record["argv"] for job in await store.jobs("rack8", NOW, NOW + timedelta(1), 9)] == [["ls"]]
    assert await store.jobs("rack8", NOW + timedelta(1), None, 9) == []


async def test_old_records_expire(store: RecordStore) -> None:
    """A job that runs stays."""
    running = {**JOB, "id": 4, "state": "running", "ended_at": None}
    await store.put(
        "rack7", "j", [_event(1), _event(50), _record("job", JOB, 51), _record("job", running, 52)], 0, None
    )
    await store.expire(NOW + timedelta(seconds=10), NOW + timedelta(days=1))
    assert await _kept(store) == [50]
    assert [job.job_id for job in await store.jobs("rack7", None, None, 9)] == [4]
