"""Reads the tables of the feature `turrets`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import datetime
from uuid import UUID

import msgspec

from smartmob.kernel.db import queries
from smartmob.kernel.db.database import is_unavailable, unavailable
from smartmob.kernel.db.reading import Reading, Record
from smartmob.turrets.hq.machine_events import RunState
from smartmob.turrets.model import Counters, ImportSource, Member, RunConfig
from smartmob.turrets.protocol import ErrorKind, Slice
from smartmob.turrets.result_files.imported_run import HEADQUARTERS, GivenStats
from smartmob.turrets.store.writer import PACKAGE

_RESULT_ROWS = 20_000
"""Rows of results that are fetched at once, approximately."""
_SLICE_ROWS = 500
"""Rows of slices that are fetched at once."""
_LATER_KEYS = ("fail_if",)
"""Keys of a configuration that earlier versions did not check."""
_ERRORS = msgspec.json.Decoder(dict[str, int | tuple[int, str, str]])


class _ImportedConfig(msgspec.Struct, frozen=True):
    source: ImportSource


class StoredRun(msgspec.Struct, frozen=True):
    """A run as it is stored; `config` is JSON as it was received."""

    state: RunState
    config: str
    transactions: int
    errors: int
    counters: Counters
    package: bool
    source: ImportSource | None = None


class StoredTotals(msgspec.Struct, frozen=True):
    """The sums over the batches of a run; `aggregated` of its single `results` are in stored slices."""

    transactions: int
    errors: int
    results: int
    aggregated: int


class TurretsReader:
    """Reads runs, turrets, results and slices."""

    def __init__(self, database: Reading) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)

    async def run(self, run: UUID) -> StoredRun | None:
        """Return a run, or None."""
        row = await self._database.fetchrow(self._sql["select_runs"] + " WHERE run_id = $1", run)
        return None if row is None else _stored(row)

    async def runs_before(self, moment: datetime, run: UUID, limit: int) -> list[StoredRun]:
        """Return the runs before a creation time and id, newest first."""
        query = " WHERE (created_at, run_id) < ($1, $2) ORDER BY created_at DESC, run_id DESC LIMIT $3"
        return [
            _stored(row) for row in await self._database.fetch(self._sql["select_runs"] + query, moment, run, limit)
        ]

    async def runs_between(self, start: datetime, end: datetime, limit: int) -> list[StoredRun]:
        """Return the runs that were active at any time in a time span, newest first.

        An imported run was active when its tool fired it, not when it was imported; one without times is left out.
        """
        query = (
            " WHERE CASE WHEN headquarters = $4 THEN started_at < $2 AND ended_at >= $1"
            " ELSE created_at < $2 AND (ended_at IS NULL OR ended_at >= $1) END"
            " ORDER BY coalesce(started_at, created_at) DESC LIMIT $3"
        )
        values = (start, end, limit, HEADQUARTERS)
        return [_stored(row) for row in await self._database.fetch(self._sql["select_runs"] + query, *values)]

    async def concluded_between(self, start: datetime, end: datetime, limit: int) -> list[StoredRun]:
        """Return the runs that were active at any time in a time span, or imported in it, newest first."""
        query = (
            " WHERE created_at < $2 AND (CASE WHEN headquarters = $4 THEN created_at >= $1"
            " ELSE ended_at IS NULL OR ended_at >= $1 END) ORDER BY created_at DESC LIMIT $3"
        )
        values = (start, end, limit, HEADQUARTERS)
        return [_stored(row) for row in await self._database.fetch(self._sql["select_runs"] + query, *values)]

    async def open_runs(self, headquarters: str) -> list[StoredRun]:
        """Return the runs of a headquarters that have not ended, oldest first."""
        query = " WHERE headquarters = $1 AND state IN ('waiting', 'running', 'draining') ORDER BY created_at"
        return [_stored(row) for row in await self._database.fetch(self._sql["select_runs"] + query, headquarters)]

    async def members(self, run: UUID) -> list[Member]:
        """Return the turrets of a run."""
        rows = await self._database.fetch(self._sql["select_members"], run)
        return [msgspec.json.decode(row["member"], type=Member) for row in rows]

    async def progress(self, run: UUID) -> dict[str, int]:
        """Return the number up to which the messages of each turret of smartmob are stored, by uuid."""
        rows = await self._database.fetch(self._sql["select_progress"], run)
        return {row["uuid"]: row["sequence"] for row in rows}

    async def claims(self, headquarters: str, limit: int) -> dict[str, str]:
        """Return the key of each uuid, for the `limit` newest claims, the oldest of them first."""
        rows = await self._database.fetch(self._sql["select_claims"], headquarters, limit)
        return {row["uuid"]: row["key"] for row in reversed(rows)}

    async def totals(self, run: UUID) -> StoredTotals:
        """Return the sums over the batches of a run."""
        row = await self._database.fetchrow(self._sql["select_totals"], run)
        assert row is not None
        return StoredTotals(**row)

    async def timer_counts(self, run: UUID) -> dict[str, int]:
        """Return how many values each timer has in the slices of a run."""
        rows = await self._database.fetch(self._sql["select_timer_counts"], run)
        return {row["timer"]: row["count"] for row in rows}

    async def timer_failures(self, run: UUID) -> dict[str, int]:
        """Return how many failures each timer has in the slices of a run that keep failures apart."""
        rows = await self._database.fetch(self._sql["select_timer_counts"], run)
        return {row["timer"]: row["failures"] for row in rows if row["failures"]}

    async def summary(self, run: UUID) -> bytes | None:
        """Return the summary that was stored when the run ended, as JSON, or None."""
        summary = await self._database.fetchval(self._sql["select_summary"], run)
        return summary.encode() if summary is not None else None

    async def package(self, run: UUID) -> bytes | None:
        """Return the package with which the run was requested, or None."""
        package: bytes | None = await self._database.fetchval(self._sql["select_package"], run)
        return package

    async def given(self, run: UUID) -> GivenStats:
        """Return the statistics of an imported run that has no slices."""
        stored = await self.package(run)
        return msgspec.json.decode(stored, type=GivenStats) if stored is not None else GivenStats()

    async def results(self, run: UUID) -> AsyncIterator[list[Record]]:
        """Yield the single results in the order of their arrival, some thousands at a time."""
        batches = await self._database.fetch(self._sql["select_batches"], run)
        first, rows = 0, 0
        for index, row in enumerate(batches):
            rows += row["results"]
            if rows >= _RESULT_ROWS or index == len(batches) - 1:
                query = self._sql["select_results"]
                yield await self._database.fetch(query, run, batches[first]["batch"], row["batch"])
                first, rows = index + 1, 0

    async def last_second(self, run: UUID) -> int:
        """Return the last second of a run in which a transaction ended."""
        second: int = await self._database.fetchval(self._sql["select_last_second"], run)
        return second

    async def slices(self, run: UUID, timer: str | None = None) -> AsyncIterator[list[Slice]]:
        """Yield the slices of a run, or of one timer of it, in the order of their seconds, many at a time."""
        try:
            async with self._database.acquire() as connection, connection.transaction(readonly=True):
                cursor = await connection.cursor(self._sql["select_slices"], run, timer)
                while rows := await cursor.fetch(_SLICE_ROWS):
                    yield [_slice(row) for row in rows]
        except Exception as error:
            raise (unavailable(error) if is_unavailable(error) else error) from error

    async def health(self, run: UUID) -> list[Record]:
        """Return the health of the turrets of a run, in the order of time."""
        return await self._database.fetch(self._sql["select_health"], run)


def _stored(row: Record) -> StoredRun:
    state = RunState(
        id=str(row["run_id"]),
        config=_config(row["config"]),
        state=row["state"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        ceased_at=row["ceased_at"],
        ended_at=row["ended_at"],
        reason=row["reason"],
        stop_requested=row["stop_asked"],
    )
    counters = msgspec.json.decode(row["counters"], type=Counters)
    source = None
    if row["headquarters"] == HEADQUARTERS:
        source = msgspec.json.decode(row["config"], type=_ImportedConfig).source
    package = row["package"] and source is None
    return StoredRun(state, row["config"], row["transactions"], row["errors"], counters, package, source)


def _config(stored: str) -> RunConfig:
    """Return a stored configuration. Earlier versions stored any value of a key that they did not know."""
    try:
        return msgspec.json.decode(stored, type=RunConfig)
    except msgspec.ValidationError:
        known = {key: value for key, value in msgspec.json.decode(stored).items() if key not in _LATER_KEYS}
        return msgspec.convert(known, RunConfig)


def _slice(row: Record) -> Slice:
    values = dict(row)
    errors: dict[str, int] = {}
    kinds: dict[str, ErrorKind] = {}
    if stored := values.pop("errors"):
        for error, found in _ERRORS.decode(stored).items():
            if isinstance(found, int):
                errors[error] = found
            else:
                errors[error], kinds[error] = found[0], ErrorKind(found[1], found[2])
    return Slice(errors=errors, kinds=kinds, **values)
