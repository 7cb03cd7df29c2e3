"""The table of audit events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from smartmob.kernel.audit.model import AuditEvent
from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Connection, Database
from smartmob.kernel.db.writer import Submission

PACKAGE = "smartmob.kernel.audit"


class AuditStore:
    """Reads and writes audit events."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)

    async def events(
        self, since: datetime, who: str | None, node: str | None, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[AuditEvent]:
        """Return at most `limit` events since a moment, newest first, before the key `before`."""
        rows = await self._database.fetch(
            self._sql["select_events"], since, who, node, *(before or (None, None)), limit
        )  # fmt: skip
        return [AuditEvent(**dict(row)) for row in rows]

    async def expire(self, before: datetime) -> None:
        """Delete the events before a moment."""
        await self._database.run(lambda connection: connection.execute(self._sql["expire"], before))

    async def commit(self, connection: Connection, submissions: Sequence[Submission[AuditEvent]]) -> None:
        """Write the events of all submissions; see `smartmob.kernel.db.writer.Commit`."""
        events = [event for submission in submissions for event in submission.rows]
        await connection.execute(self._sql["insert_events"], msgspec.json.encode(events).decode())
