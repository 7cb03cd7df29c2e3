"""The tables of the feature `processes`: definitions and events."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

import msgspec
import orjson
from msgspec.structs import replace

from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Connection, Database, Record
from smartmob.kernel.db.writer import Submission
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.processes.model import Definition, ProcessEvent
from smartmob.processes.process_changes import Change, DeleteProcess, StoredEvent, Unrestored, UpdateProcess

PACKAGE = "smartmob.processes"

_DOCUMENTS = ("env", "readiness", "liveness", "depends_on", "limits")
"""The fields that are stored as JSON."""


class ProcessStore:
    """Reads and writes the definitions and events of the processes of one service."""

    def __init__(self, database: Database, services: ServiceRegistry) -> None:
        self._database = database
        self._services = services
        self._sql = queries.load(PACKAGE)

    async def definitions(self) -> list[Definition]:
        """Return all definitions of this service, in the order of their creation."""
        rows = await self._database.fetch(self._sql["select_processes"], self._services.id)
        return [_definition(row) for row in rows]

    async def adopt(self) -> None:
        """Take over the processes of a version that did not know services.

        A service that is alone takes over those of all others, whose database was restored here from a backup.
        """
        await self._database.fetch(self._sql["adopt"], self._services.id, self._services.alone)

    async def count_others(self) -> dict[str, int]:
        """Return the numbers of wanted processes of the other services by their ids."""
        rows = await self._database.fetch(self._sql["count_others"], self._services.id)
        return {row["service"]: row["processes"] for row in rows}

    async def unrestored(self) -> list[Unrestored]:
        """Return the wanted processes of services that do not run: only those services restore them."""
        wanted = await self.count_others()
        others = await self._services.others() if wanted else []
        return [
            Unrestored(other.id, other.machine, wanted[other.id])
            for other in others
            if other.id in wanted and not other.runs
        ]

    async def events(
        self,
        slug: str | None,
        since: datetime | None,
        until: datetime | None,
        after: tuple[datetime, UUID] | None,
        limit: int,
    ) -> list[StoredEvent]:
        """Return at most `limit` events, oldest first.

        Only those of `slug`, from `since`, before `until` and after the key `after` (time and id); None: any.
        """
        rows = await self._database.fetch(
            self._sql["select_events"], self._services.id, slug, since, until, *(after or (None, None)), limit
        )
        return [_stored_event(row) for row in rows]

    async def expire(self, before: datetime) -> None:
        """Delete the events that are older than `before`."""
        await self._database.fetch(self._sql["expire_events"], self._services.id, before)

    async def commit(self, connection: Connection, submissions: Sequence[Submission[Change]]) -> None:
        """Write the changes of all submissions, in their order; see `smartmob.kernel.db.writer.Commit`.

        Writing the same changes again has no effect.
        """
        changes = [change for submission in submissions for change in submission.rows]
        last: dict[str, Definition | DeleteProcess] = {}
        updates: dict[tuple[str, datetime], UpdateProcess] = {}
        for change in changes:
            if isinstance(change, Definition | DeleteProcess):
                last[change.slug] = change
            elif isinstance(change, UpdateProcess):
                _merge_update(change, last, updates)
        definitions = [change for change in last.values() if isinstance(change, Definition)]
        deleted = [change.slug for change in last.values() if isinstance(change, DeleteProcess)]
        remaining = [change for change in updates.values() if change.slug not in last]
        events = [change for change in changes if isinstance(change, StoredEvent)]
        await connection.execute(
            self._sql["store_changes"],
            self._services.id,
            deleted,
            _json(definitions),
            _json(remaining),
            _json(events),
        )


def _merge_update(
    update: UpdateProcess,
    last: dict[str, Definition | DeleteProcess],
    updates: dict[tuple[str, datetime], UpdateProcess],
) -> None:
    """Apply an update to the definition of the same batch, or else to the earlier updates of the same process."""
    known = last.get(update.slug)
    changed = update.changed()
    if isinstance(known, Definition) and known.created_at == update.created_at:
        last[update.slug] = msgspec.structs.replace(known, **changed)
    elif known is None:
        key = (update.slug, update.created_at)
        updates[key] = replace(updates.get(key, update), **changed)


def _json(rows: Sequence[Change]) -> str:
    """Return rows as one text: the driver takes much longer for an array of each column."""
    return msgspec.json.encode(rows).decode()


def _definition(row: Record) -> Definition:
    fields = dict(row)
    fields |= {name: orjson.loads(fields[name]) for name in _DOCUMENTS if fields[name] is not None}
    return msgspec.convert(fields, Definition)


def _stored_event(row: Record) -> StoredEvent:
    event = ProcessEvent(slug=row["slug"], at=row["at"], kind=row["kind"], detail=orjson.loads(row["detail"]))
    return StoredEvent(row["id"], event)
