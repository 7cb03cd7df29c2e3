"""Reads the tables of the feature `turrets`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

import msgspec

from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Database, Record, away, is_away
from smartmob.turrets.hq.machine_events import RunState
from smartmob.turrets.model import Counters, Member, RunConfig
from smartmob.turrets.protocol import Slice
from smartmob.turrets.store.writer import PACKAGE

_RESULTS_AT_ONCE = 20_000


@dataclass(frozen=True, slots=True)
class StoredRun:
    """A run as it is stored; `config` is JSON as it was given."""

    state: RunState
    config: str
    transactions: int
    errors: int
    counters: Counters
    package: bool


@dataclass(frozen=True, slots=True)
class StoredTotals:
    """What the batches of a run hold together."""

    transactions: int
    errors: int
    results: int
    folded: int


class TurretsReader:
    """Reads runs, turrets, results and slices."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)

    async def run(self, run: UUID) -> StoredRun | None:
        """Return a run."""
        row = await self._database.fetchrow(self._sql["select_runs"] + " WHERE run_id = $1", run)
        return None if row is None else _stored(row)

    async def runs_before(self, moment: datetime, run: UUID, limit: int) -> list[StoredRun]:
        """Return the runs before a place in the order of their creation, newest first."""
        query = " WHERE (created_at, run_id) < ($1, $2) ORDER BY created_at DESC, run_id DESC LIMIT $3"
        return [
            _stored(row) for row in await self._database.fetch(self._sql["select_runs"] + query, moment, run, limit)
        ]

    async def runs_between(self, start: datetime, end: datetime, limit: int) -> list[StoredRun]:
        """Return the runs that went on at some time of a span, newest first."""
        query = " WHERE created_at < $2 AND (ended_at IS NULL OR ended_at >= $1) ORDER BY created_at DESC LIMIT $3"
        return [_stored(row) for row in await self._database.fetch(self._sql["select_runs"] + query, start, end, limit)]

    async def open_runs(self, headquarters: str) -> list[StoredRun]:
        """Return the runs of a headquarters that are not over, oldest first."""
        query = " WHERE headquarters = $1 AND state IN ('waiting', 'running', 'draining') ORDER BY created_at"
        return [_stored(row) for row in await self._database.fetch(self._sql["select_runs"] + query, headquarters)]

    async def members(self, run: UUID) -> list[Member]:
        """Return the turrets of a run."""
        rows = await self._database.fetch(self._sql["select_members"], run)
        return [msgspec.json.decode(row["member"], type=Member) for row in rows]

    async def progress(self, run: UUID) -> dict[str, int]:
        """Return up to which number the messages of each turret of ours are stored."""
        rows = await self._database.fetch(self._sql["select_progress"], run)
        return {row["uuid"]: row["sequence"] for row in rows}

    async def claims(self, headquarters: str, limit: int) -> dict[str, str]:
        """Return which key each uuid belongs to, of so many that were claimed last, the oldest first."""
        rows = await self._database.fetch(self._sql["select_claims"], headquarters, limit)
        return {row["uuid"]: row["key"] for row in reversed(rows)}

    async def totals(self, run: UUID) -> StoredTotals:
        """Return what the batches of a run hold together."""
        row = await self._database.fetchrow(self._sql["select_totals"], run)
        assert row is not None
        return StoredTotals(**row)

    async def timer_counts(self, run: UUID) -> dict[str, int]:
        """Return how many values each timer has in the slices of a run."""
        rows = await self._database.fetch(self._sql["select_timer_counts"], run)
        return {row["timer"]: row["count"] for row in rows}

    async def summary(self, run: UUID) -> bytes | None:
        """Return the summary that was kept when the run was over, as JSON."""
        kept = await self._database.fetchval(self._sql["select_summary"], run)
        return kept.encode() if kept is not None else None

    async def package(self, run: UUID) -> bytes | None:
        """Return the package that the run was asked for with."""
        package: bytes | None = await self._database.fetchval(self._sql["select_package"], run)
        return package

    async def results(self, run: UUID) -> AsyncIterator[list[Record]]:
        """Yield the results that came one by one, in the order of their arrival, some thousands at a time."""
        batches = await self._database.fetch(self._sql["select_batches"], run)
        first, held = 0, 0
        for index, row in enumerate(batches):
            held += row["results"]
            if held >= _RESULTS_AT_ONCE or index == len(batches) - 1:
                query, span = self._sql["select_results"], (batches[first]["batch"], row["batch"])
                yield await self._database.fetch(query, run, *span)
                first, held = index + 1, 0

    async def slices(self, run: UUID, timer: str | None = None) -> AsyncIterator[list[Slice]]:
        """Yield the slices of a run, or of one timer of it, in the order of their seconds, many at a time."""
        try:
            async with self._database.acquire() as connection, connection.transaction(readonly=True):
                cursor = await connection.cursor(self._sql["select_slices"], run, timer)
                while rows := await cursor.fetch(500):
                    yield [_slice(row) for row in rows]
        except Exception as error:
            raise (away(error) if is_away(error) else error) from error

    async def health(self, run: UUID) -> list[Record]:
        """Return how the turrets of a run did, in the order of time."""
        return await self._database.fetch(self._sql["select_health"], run)


def _stored(row: Record) -> StoredRun:
    state = RunState(
        id=str(row["run_id"]),
        config=msgspec.json.decode(row["config"], type=RunConfig),
        state=row["state"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        ceased_at=row["ceased_at"],
        ended_at=row["ended_at"],
        reason=row["reason"],
        stop_asked=row["stop_asked"],
    )
    counters = msgspec.json.decode(row["counters"], type=Counters)
    return StoredRun(state, row["config"], row["transactions"], row["errors"], counters, row["package"])


def _slice(row: Record) -> Slice:
    values = dict(row)
    errors = values.pop("errors")
    return Slice(errors=msgspec.json.decode(errors, type=dict[str, int]) if errors else {}, **values)
