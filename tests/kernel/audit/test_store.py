"""The table of audit events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

from smartmob.kernel.audit.model import AuditEvent
from smartmob.kernel.audit.store import AuditStore
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import Submission

AT = datetime(2026, 11, 29, 12, tzinfo=UTC)


async def test_events_are_listed_newest_first_and_expire(database: Database) -> None:
    """All fields come back, also at the ends of time; a repeated commit stores nothing twice."""
    store = AuditStore(database)
    events = [
        AuditEvent(id=UUID(int=number), at=AT + timedelta(seconds=number), who="ci", client="", node=node, action="a",
                   target="t", outcome="200")
        for number, node in enumerate((None, "rack7", "rack7"))
    ]  # fmt: skip
    submission = Submission(events, None, 0.0)  # type: ignore[arg-type] # the store needs only the rows
    for _ in range(2):
        await database.run(lambda connection: store.commit(connection, [submission]))
    assert await store.events(AT, None, None, None, 10) == events[::-1]
    assert await store.events(AT, "ci", "rack7", (events[2].at, events[2].id), 10) == [events[1]]
    assert await store.events(AT + timedelta(seconds=1), None, None, None, 1) == [events[2]]
    await store.expire(AT + timedelta(seconds=2))
    assert await store.events(AT, None, None, None, 10) == [events[2]]


async def test_texts_of_an_event_are_read_as_they_were_written(database: Database) -> None:
    """Also those that need escapes in JSON."""
    odd = "\"'\\ ü €😀 null {}"
    store = AuditStore(database)
    event = AuditEvent(
        id=UUID(int=2**128 - 1), at=AT, who=odd, client=odd, node=odd, action=odd, target=odd, outcome=odd
    )
    submission = Submission([event], None, 0.0)  # type: ignore[arg-type] # the store needs only the rows
    await database.run(lambda connection: store.commit(connection, [submission]))
    assert await store.events(AT, odd, odd, None, 10) == [event]
