"""A table like those of the features, and a commit function for it that can fail on demand."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Awaitable, Sequence
from typing import Any, Literal, Protocol

from smartmob.kernel.db.database import Connection
from smartmob.kernel.db.writer import GroupCommitWriter, Submission

Moment = Literal["before", "inside", "after"]


class Writers(Protocol):
    """Makes and starts writers to the table."""

    def __call__(self, database: Any = None, **options: Any) -> Awaitable[GroupCommitWriter[int]]: ...


class Stored:
    """The table `stored`, in which a negative value is refused.

    Each row's key is chosen at the first attempt and kept with the submission, so that a repetition changes nothing.
    `cuts` are the moments of the next attempts at which the server ends the connection.
    """

    def __init__(self, admin: Any) -> None:
        self._admin = admin
        self.gate = asyncio.Event()
        self.gate.set()
        self.attempts: list[list[list[int]]] = []
        self.backends: set[int] = set()
        self.cuts: list[Moment | None] = []
        self.bugs = 0

    async def make(self) -> None:
        """Make the table."""
        await self._admin.execute(
            "CREATE TABLE stored (key uuid PRIMARY KEY, place serial, value integer CHECK (value >= 0))"
        )

    async def values(self) -> list[int]:
        """Return the rows that another connection sees, in the order of arrival."""
        return [row["value"] for row in await self._admin.fetch("SELECT value FROM stored ORDER BY place")]

    def flat(self) -> list[int]:
        """Return the rows of all attempts."""
        return [value for batch in self.attempts for rows in batch for value in rows]

    async def commit(self, connection: Connection, submissions: Sequence[Submission[int]]) -> None:
        """Commit the rows of all submissions or of none."""
        self.attempts.append([list(submission.rows) for submission in submissions])
        await self.gate.wait()
        if self.bugs:
            self.bugs -= 1
            raise ZeroDivisionError
        cut = self.cuts.pop(0) if self.cuts else None
        keys: list[uuid.UUID] = []
        values: list[int] = []
        for submission in submissions:
            if submission.commit_key is None:
                submission.commit_key = [uuid.uuid4() for _ in submission.rows]
            keys += submission.commit_key
            values += submission.rows
        if cut == "before":
            await self.cut(connection)
        async with connection.transaction():
            self.backends.add(await connection.fetchval("SELECT pg_backend_pid()"))
            await connection.execute(
                "INSERT INTO stored (key, value) SELECT * FROM unnest($1::uuid[], $2::int[]) ON CONFLICT DO NOTHING",
                *(keys, values),
            )
            if cut == "inside":
                await self.cut(connection)
        if cut == "after":
            await self.cut(connection)

    async def cut(self, connection: Connection) -> None:
        """Make the server close `connection`, and wait until that is noticed."""
        await self._admin.fetchval("SELECT pg_terminate_backend($1, 5000)", connection.get_server_pid())
        await connection.fetchval("SELECT 1")
