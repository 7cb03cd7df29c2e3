"""The records for the service that this one has joined, kept in the database until that service has stored them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar
from uuid import uuid4

import msgspec

from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Connection, Database
from smartmob.kernel.db.writer import Commit, Submission
from smartmob.kernel.journal.waiting_records import MAX_RECORDS, Outgoing
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.services.service_registry import PACKAGE, ServiceRegistry
from smartmob.settings import Settings

log = get_logger()

R = TypeVar("R")

Encode = Callable[[R], tuple[str, object] | None]
"""Returns the kind and the value of a row, or None for a row that is not sent to the other service."""

_READ_RECORDS = 500
"""Records that are read at a time: more than one message of the link contains, unless they are very small."""


def made(database: Database, services: ServiceRegistry, settings: Settings) -> ServiceOutbox | None:
    """Return the outbox of a service that joins another one, or None."""
    return ServiceOutbox(database, services) if settings.join.url else None


class ServiceOutbox:
    """Implements `Outbox` of the link with tables; a record is written in the transaction of the row that it describes.

    At most `max_records` wait; above this, the oldest are dropped and counted.
    """

    def __init__(self, database: Database, services: ServiceRegistry, max_records: int = MAX_RECORDS) -> None:
        self.id = ""
        self.dropped = 0
        self._database = database
        self._services = services
        self._max_records = max_records
        self._sql = queries.load(PACKAGE)
        self._added = asyncio.Event()

    def forwarding(self, commit: Commit[R], encode: Encode[R]) -> Commit[R]:
        """Return a function that commits rows by `commit`, and their records in the same transaction."""

        async def both(connection: Connection, batch: Sequence[Submission[R]]) -> None:
            found = [encode(row) for submission in batch for row in submission.rows]
            records = [(kind, msgspec.json.encode(value).decode()) for kind, value in filter(None, found)]
            if not records:
                await commit(connection, batch)
                return
            async with connection.transaction():
                await commit(connection, batch)
                await self._put(connection, records)
            self._added.set()

        return both

    async def wait_for_records(self) -> None:
        """Wait until there are records; raises Unavailable."""
        await self._open()
        while True:
            self._added.clear()
            if await self._read(1):
                return
            await self._added.wait()

    async def first_records(self, max_bytes: int) -> Sequence[Outgoing]:
        """Return the oldest records, with at most `max_bytes` of values unless one alone has more.

        Raises Unavailable.
        """
        found: list[Outgoing] = []
        size = 0
        for record in await self._read(_READ_RECORDS):
            size += len(bytes(record.value))
            if found and size > max_bytes:
                break
            found.append(record)
        return found

    async def delivered(self, number: int) -> None:
        """Remove the records up to this number, which the other service has stored; raises Unavailable."""
        await self._database.fetch(self._sql["drop_outbox_records"], self._services.id, number)

    async def renew_id(self) -> None:
        """Take a new id, because another outbox has the present one: of a copy of the database, or of a later state."""
        log.warning("outbox.id_renewed", id=self.id)
        await self._database.fetch(self._sql["renew_outbox"], self._services.id, str(uuid4()))
        await self._open()

    async def _open(self) -> None:
        """Read the row of this outbox, which is made if it is missing."""
        await self._database.fetch(self._sql["open_outbox"], self._services.id, str(uuid4()))
        row = await self._database.fetchrow(self._sql["select_outbox"], self._services.id)
        if row is not None:
            self.id, self.dropped = row["id"], row["dropped"]

    async def _read(self, limit: int) -> list[Outgoing]:
        rows = await self._database.fetch(self._sql["select_outbox_records"], self._services.id, limit)
        return [Outgoing(row["number"], row["kind"], msgspec.Raw(row["value"].encode())) for row in rows]

    async def _put(self, connection: Connection, records: Sequence[tuple[str, str]]) -> None:
        service, count = self._services.id, len(records)
        first = int(await connection.fetchval(self._sql["take_numbers"], service, str(uuid4()), count))
        kinds, values = [kind for kind, _ in records], [value for _, value in records]
        numbers = list(range(first, first + count))
        await connection.execute(self._sql["put_outbox_records"], service, numbers, kinds, values)
        last = first + count - 1
        if last <= self._max_records:
            return
        gone = await connection.fetch(self._sql["drop_outbox_records"], service, last - self._max_records)
        if gone:
            self.dropped = int(await connection.fetchval(self._sql["count_dropped"], service, len(gone)))
            log.warning("outbox.records_dropped", dropped=len(gone), in_all=self.dropped)
