"""The table of the feature `marks`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Connection, Database
from smartmob.kernel.db.writer import Submission
from smartmob.marks.model import Mark

PACKAGE = "smartmob.marks"


class MarkStore:
    """Reads and writes marks."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)

    async def marks(
        self, start: datetime, end: datetime, after: tuple[datetime, UUID] | None, limit: int
    ) -> list[Mark]:
        """Return at most `limit` marks from `start` until before `end`, in the order of time, after the key `after`."""
        rows = await self._database.fetch(self._sql["select_marks"], start, end, *(after or (None, None)), limit)
        return [Mark(**dict(row)) for row in rows]

    async def mark(self, ident: UUID) -> Mark | None:
        """Return one mark, or None."""
        rows = await self._database.fetch(self._sql["select_mark"], ident)
        return Mark(**dict(rows[0])) if rows else None

    async def delete(self, ident: UUID) -> bool:
        """Delete a mark; return whether it existed."""
        return bool(await self._database.fetch(self._sql["delete_mark"], ident))

    async def commit(self, connection: Connection, submissions: Sequence[Submission[Mark]]) -> None:
        """Write the marks of all submissions; see `smartmob.kernel.db.writer.Commit`."""
        marks = [mark for submission in submissions for mark in submission.rows]
        columns = [[getattr(mark, name) for mark in marks] for name in Mark.__struct_fields__]
        await connection.execute(self._sql["insert_marks"], *columns)
