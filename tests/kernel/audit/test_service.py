"""The audit log: recording without delay."""

from __future__ import annotations

from smartmob.kernel.audit.events import CommandCalled
from smartmob.kernel.audit.service import AuditService
from smartmob.kernel.audit.store import AuditStore
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import GroupCommitWriter


async def test_an_event_that_finds_no_room_delays_nothing(database: Database) -> None:
    """A writer that is full gets no more; recording raises nothing, also when the writer has ended."""
    store = AuditStore(database)
    writer = GroupCommitWriter("audit", database, store.commit, max_waiting=2)
    service = AuditService(store, writer, 1.0)
    for number in range(5):
        service.record_command(CommandCalled("exec", str(number), "me", "job 1", "rack7"))
    assert writer.stats.waiting == 2
    await writer.close()
    service.record_command(CommandCalled("exec", "late", "me", "job 1"))
