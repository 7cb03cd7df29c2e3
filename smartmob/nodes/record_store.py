"""The tables of the records of nodes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from smartmob.errors import InvalidInput
from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Connection, Database
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.nodes.protocol import Record
from smartmob.nodes.records import NodeEvent, NodeJob, RecordBatch

log = get_logger()

PACKAGE = "smartmob.nodes"


class RecordStore:
    """Stores the records of nodes once, whichever service of the database a node is connected to."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)

    async def put(self, node: str, journal: str, records: Sequence[Record], dropped: int, offset: float | None) -> int:
        """Store new records in one transaction; return the number up to which all records are stored.

        A record that is not valid is logged and skipped, because the node would otherwise send it repeatedly.
        """

        async def write(connection: Connection) -> int:
            async with connection.transaction():
                row = await connection.fetchrow(self._sql["lock_progress"], node)
                done = 0 if row is None or row["journal"] != journal else row["number"]
                batch = RecordBatch(node, offset)
                for record in records:
                    if record.number <= done:
                        continue
                    done = record.number
                    try:
                        batch.add(record)
                    except InvalidInput as error:
                        log.warning("node.record_refused", node=node, reason=str(error))
                if batch.events:
                    await connection.execute(self._sql["insert_events"], node, *batch.event_columns())
                if batch.jobs:
                    await connection.execute(self._sql["put_jobs"], node, *batch.job_columns())
                await connection.execute(self._sql["put_progress"], node, journal, done, dropped)
                return int(done)

        return await self._database.run(write)

    async def events(
        self,
        node: str | None,
        since: datetime | None,
        until: datetime | None,
        limit: int,
        after: tuple[datetime, UUID] | None = None,
    ) -> list[NodeEvent]:
        """Return at most `limit` process events of a node or of all, oldest first, after the key `after`."""
        rows = await self._database.fetch(
            self._sql["select_events"], node, since, until, *(after or (None, None)), limit
        )
        return [NodeEvent(**{**row, "detail": msgspec.json.decode(row["detail"], type=dict[str, Any])}) for row in rows]

    async def jobs(self, node: str | None, since: datetime | None, until: datetime | None, limit: int) -> list[NodeJob]:
        """Return at most `limit` jobs of a node or of all that ran in a span, newest first."""
        rows = await self._database.fetch(self._sql["select_jobs"], node, since, until, limit)
        return [NodeJob(**{**row, "record": msgspec.json.decode(row["record"], type=dict[str, Any])}) for row in rows]

    async def nodes_of_job(self, job: int) -> set[str]:
        """Return the nodes that have, or have had, a job of this number."""
        return {row["node"] for row in await self._database.fetch(self._sql["select_nodes_of_job"], job)}

    async def progress(self, node: str) -> tuple[int, int]:
        """Return the number up to which the records of a node are stored, and the number that the node has dropped."""
        row = await self._database.fetchrow(self._sql["select_progress"], node)
        return (0, 0) if row is None else (row["number"], row["dropped"])

    async def in_all(self) -> str:
        """Return a text that changes when a record of any node is stored."""
        return str(await self._database.fetchval(self._sql["select_records_in_all"]))

    async def delete(self, node: str) -> None:
        """Delete all records of a node."""
        await self._database.fetch(self._sql["delete_records"], node)

    async def expire(self, events_before: datetime, jobs_before: datetime) -> None:
        """Delete the events and the ended jobs that are older than these times."""
        await self._database.fetch(self._sql["expire_events"], events_before)
        await self._database.fetch(self._sql["expire_jobs"], jobs_before)
