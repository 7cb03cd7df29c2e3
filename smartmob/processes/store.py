"""The tables of the feature `processes`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TypeAlias
from uuid import UUID

import msgspec
import orjson

from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Connection, Database, Record
from smartmob.kernel.db.writer import Submission
from smartmob.processes.model import Definition, ProcessEvent

PACKAGE = "smartmob.processes"

_AMENDED = ("digest", "wanted")


@dataclass(frozen=True, slots=True)
class UpdateProcess:
    """What has changed of the process that was created then, if it is still there; None for what has not."""

    slug: str
    created_at: datetime
    digest: str | None = None
    wanted: bool | None = None


@dataclass(frozen=True, slots=True)
class DeleteProcess:
    """A process is no more."""

    slug: str


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """A happening with its key."""

    id: UUID
    happening: ProcessEvent


Change: TypeAlias = Definition | UpdateProcess | DeleteProcess | StoredEvent


class ProcessStore:
    """Reads and writes what is wanted of processes, and what happened to them."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)

    async def definitions(self) -> list[Definition]:
        """Return all processes in the order of their creation."""
        rows = await self._database.fetch(self._sql["select_processes"])
        return [Definition(**{**dict(row), "env": orjson.loads(row["env"])}) for row in rows]

    async def events(
        self,
        slug: str | None,
        since: datetime | None,
        until: datetime | None,
        after: tuple[datetime, UUID] | None,
        limit: int,
    ) -> list[StoredEvent]:
        """Return events in the order of time, behind the key `after`."""
        rows = await self._database.fetch(
            self._sql["select_events"], slug, since, until, *(after or (None, None)), limit
        )
        return [_kept(row) for row in rows]

    async def expire(self, before: datetime) -> None:
        """Remove the events from before a time."""
        await self._database.fetch(self._sql["expire_events"], before)

    async def commit(self, connection: Connection, submissions: Sequence[Submission[Change]]) -> None:
        """Write the changes of all submissions, in their order; see `smartmob.kernel.db.writer.Commit`.

        It does no harm to write them twice.
        """
        changes = [change for submission in submissions for change in submission.rows]
        last: dict[str, Definition | DeleteProcess] = {}
        amended: dict[tuple[str, datetime], UpdateProcess] = {}
        for change in changes:
            if isinstance(change, Definition | DeleteProcess):
                last[change.slug] = change
            elif isinstance(change, UpdateProcess):
                _amend(change, last, amended)
        put = [change for change in last.values() if isinstance(change, Definition)]
        gone = [change.slug for change in last.values() if isinstance(change, DeleteProcess)]
        amends = [change for change in amended.values() if change.slug not in last]
        events = [change for change in changes if isinstance(change, StoredEvent)]
        await connection.execute(
            self._sql["store_changes"], gone, *_columns(put), *_amend_columns(amends), *_event_columns(events)
        )


def _amend(
    change: UpdateProcess,
    last: dict[str, Definition | DeleteProcess],
    amended: dict[tuple[str, datetime], UpdateProcess],
) -> None:
    """Add a change to what has been said of its process."""
    known = last.get(change.slug)
    news = {name: value for name in _AMENDED if (value := getattr(change, name)) is not None}
    if isinstance(known, Definition) and known.created_at == change.created_at:
        last[change.slug] = msgspec.structs.replace(known, **news)
    elif known is None:
        key = (change.slug, change.created_at)
        amended[key] = replace(amended.get(key, change), **news)


def _amend_columns(rows: Sequence[UpdateProcess]) -> list[list[object]]:
    return [[getattr(row, name) for row in rows] for name in ("slug", "created_at", *_AMENDED)]


def _columns(rows: Sequence[Definition]) -> list[list[object]]:
    columns = []
    for name in Definition.__struct_fields__:
        values = [getattr(row, name) for row in rows]
        columns.append([orjson.dumps(value).decode() for value in values] if name == "env" else values)
    return columns


def _event_columns(rows: Sequence[StoredEvent]) -> list[list[object]]:
    return [
        [row.happening.slug for row in rows],
        [row.happening.at for row in rows],
        [row.id for row in rows],
        [row.happening.kind for row in rows],
        [msgspec.json.encode(row.happening.detail).decode() for row in rows],
    ]


def _kept(row: Record) -> StoredEvent:
    happening = ProcessEvent(slug=row["slug"], at=row["at"], kind=row["kind"], detail=orjson.loads(row["detail"]))
    return StoredEvent(row["id"], happening)
