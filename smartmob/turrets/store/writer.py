"""Writes the tables of the feature `turrets`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from datetime import date, datetime
from uuid import UUID

import asyncpg
import msgspec

from smartmob.kernel.db import queries
from smartmob.kernel.db.connection_loss import ended_with
from smartmob.kernel.db.database import READ_COMMITTED, Connection, Database, is_duplicate, is_unavailable, unavailable
from smartmob.kernel.db.seen_connections import SeenConnections
from smartmob.kernel.db.shards import RowShards
from smartmob.kernel.db.writer import Submission
from smartmob.turrets.hq.batch import Batch, SliceRow
from smartmob.turrets.hq.machine_events import RunState
from smartmob.turrets.hq.rows import COLUMNS, HEAD, TAIL, text
from smartmob.turrets.model import Counters, Member
from smartmob.turrets.protocol import Slice
from smartmob.turrets.result_files.imported_run import HEADQUARTERS
from smartmob.turrets.store.partitions import KnownPartitions

PACKAGE = "smartmob.turrets"

_SLICE_COLUMNS = (
    "run_id",
    "at",
    "batch",
    "seq",
    "uuid",
    "second",
    "timer",
    "count",
    "total",
    "squares",
    "minimum",
    "maximum",
    "errors",
    "late",
    "failed",
    "untimed",
    "histogram",
)


class TurretsWriter:
    """Writes runs, turrets, results and slices."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)
        self._partitions = KnownPartitions()
        self.shards: RowShards[Batch] = RowShards("turret_batches", lambda batch: batch.run)
        self._connections = SeenConnections()

    # -- runs -----------------------------------------------------------------------------------------------------

    async def insert_run(self, headquarters: str, run: RunState, config: bytes, package: bytes | None) -> None:
        """Store a new run."""
        values = (UUID(run.id), headquarters, run.config.name, config.decode(), run.created_at, package)
        await self._database.run(lambda connection: connection.execute(self._sql["insert_run"], *values))

    @asynccontextmanager
    async def importing(self, run: UUID, days: Iterable[date]) -> AsyncIterator[ImportedRows | None]:
        """Write an imported run in one transaction, which is committed at the end of the block or not at all.

        Yields None if the run is stored already. Raises Unavailable if the connection is lost.
        """
        try:
            async with self._database.acquire() as connection:
                await self._partitions.ensure(connection, days)
                async with connection.transaction(isolation=READ_COMMITTED):
                    await connection.execute(self._sql["lock_import"], int.from_bytes(run.bytes[:8], signed=True))
                    known = await connection.fetchval(self._sql["run_exists"], run)
                    yield None if known else ImportedRows(connection, self._sql)
        except Exception as error:
            raise (unavailable(error) if is_unavailable(error) else error) from error

    async def update_run(self, run: RunState, transactions: int, errors: int, counters: Counters) -> None:
        """Store the state of a run."""
        values = (
            UUID(run.id),
            run.state,
            run.reason,
            run.stop_requested,
            run.started_at,
            run.ceased_at,
            run.ended_at,
            transactions,
            errors,
            msgspec.json.encode(counters).decode(),
        )
        await self._database.run(lambda connection: connection.execute(self._sql["update_run"], *values))

    async def update_summary(self, run: UUID, summary: bytes) -> None:
        """Store the summary of a run, as JSON."""
        await self._database.run(
            lambda connection: connection.execute(self._sql["update_summary"], run, summary.decode())
        )

    async def upsert_members(self, run: UUID, members: Iterable[Member]) -> None:
        """Store the last state of turrets of a run."""
        rows = [(run, text(member.uuid), msgspec.json.encode(member).decode()) for member in members]
        await self._database.run(lambda connection: connection.executemany(self._sql["upsert_member"], rows))

    async def adopt(self, name: str, headquarters: str) -> None:
        """Move the active runs and the claims that are stored under `name` to `headquarters`."""

        async def adopt(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute(self._sql["adopt"], name, headquarters)
                await connection.execute(self._sql["adopt_claims"], name, headquarters)

        await self._database.run(adopt)

    async def update_claims(self, headquarters: str, changes: Mapping[str, str | None], now: datetime) -> None:
        """Store the key of each uuid; remove the claims of uuids whose key is None."""
        claimed = {text(uuid): key for uuid, key in changes.items() if key is not None}
        released = [text(uuid) for uuid, key in changes.items() if key is None]

        async def write(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute(self._sql["delete_claims"], headquarters, released)
                keys = list(claimed.values())
                await connection.execute(self._sql["upsert_claims"], headquarters, list(claimed), keys, now)

        await self._database.run(write)

    async def delete_run(self, run: UUID) -> None:
        """Remove a run with its rows in all tables."""
        await self._database.run(lambda connection: connection.execute(self._sql["delete_run"], run))

    # -- results --------------------------------------------------------------------------------------------------

    async def commit(self, connection: Connection, submissions: Sequence[Submission[Batch]]) -> None:
        """Write batches in one transaction; see `smartmob.kernel.db.writer.Commit`."""
        if self._connections.add(connection):
            self._partitions.forget()
        batches = [batch for submission in submissions for batch in submission.rows]
        await self._partitions.ensure(connection, {day for batch in batches for day in batch.days()})
        again = any(batch.tried for batch in batches)
        try:
            await self._commit_missing(connection, batches)
        except asyncpg.PostgresError as error:
            if not again or not is_duplicate(error):
                raise
            # An earlier attempt without an answer was committed meanwhile: this one has waited for it.
            await self._commit_missing(connection, batches)

    async def _commit_missing(self, connection: Connection, batches: Sequence[Batch]) -> None:
        """Write those of some batches that no earlier attempt has stored, in one transaction."""
        async with connection.transaction():
            for batch in batches:
                if batch.tried and await connection.fetchval(self._sql["batch_exists"], batch.run, batch.number):
                    continue
                batch.tried = True
                await self._write(connection, batch)

    async def _write(self, connection: Connection, batch: Batch) -> None:
        await _insert_batch(connection, self._sql, batch)
        if batch.rows:
            source = _copy_data(batch)
            async with ended_with(connection):
                await connection.copy_to_table("turret_results", source=source, columns=COLUMNS, format="binary")
        await _copy_slices(connection, batch)
        if batch.progress:
            uuids = [text(uuid) for uuid in batch.progress]
            await connection.execute(self._sql["upsert_progress"], batch.run, uuids, list(batch.progress.values()))
        if batch.health:
            columns = zip(*(msgspec.structs.astuple(row) for row in batch.health), strict=True)
            await connection.execute(self._sql["insert_health"], batch.run, *map(list, columns))

    async def replace_aggregated(self, run: UUID, batch: Batch) -> None:
        """Replace the slices of a run that were aggregated from its single results by those of `batch`."""

        async def write(connection: Connection) -> None:
            await self._partitions.ensure(connection, batch.days())
            async with connection.transaction():
                await connection.execute(self._sql["delete_aggregated"], run)
                await _copy_slices(connection, batch)
                await connection.execute(self._sql["mark_aggregated"], run)

        await self._database.run(write)

    # -- retention ------------------------------------------------------------------------------------------------

    async def make_partitions(self, now: datetime) -> None:
        """Make the partitions of the next days."""
        await self._database.run(lambda connection: self._partitions.ensure_ahead(connection, now))

    async def expire(self, before: datetime) -> tuple[int, int]:
        """Remove the runs and partitions that are older than a time; return how many of each."""
        old = [row["run_id"] for row in await self._database.fetch(self._sql["old_runs"], before)]
        for run in old:
            await self.delete_run(run)
        dropped = await self._database.run(
            lambda connection: self._partitions.drop_before(connection, self._sql["partitions"], before)
        )
        return len(old), dropped


class ImportedRows:
    """The rows of an imported run, in a transaction that has begun."""

    def __init__(self, connection: Connection, sql: Mapping[str, str]) -> None:
        self._connection = connection
        self._sql = sql

    async def add(self, batch: Batch) -> None:
        """Write a batch of slices."""
        await _insert_batch(self._connection, self._sql, batch)
        await _copy_slices(self._connection, batch)

    async def finish(self, run: RunState, config: bytes, counts: tuple[int, int], given: bytes | None) -> None:
        """Write the run itself; `counts` are those of its transactions and of its errors."""
        await self._connection.execute(
            self._sql["insert_imported_run"],
            UUID(run.id),
            HEADQUARTERS,
            run.config.name,
            config.decode(),
            run.created_at,
            run.started_at,
            run.ended_at,
            *counts,
            given,
        )


async def _insert_batch(connection: Connection, sql: Mapping[str, str], batch: Batch) -> None:
    values = (batch.run, batch.number, batch.transactions, batch.errors, batch.rows, batch.aggregated)
    await connection.execute(sql["insert_batch"], *values)


async def _copy_slices(connection: Connection, batch: Batch) -> None:
    if batch.slices:
        records = [_slice_record(batch, seq, row) for seq, row in enumerate(batch.slices)]
        async with ended_with(connection):
            await connection.copy_records_to_table("turret_slices", records=records, columns=_SLICE_COLUMNS)


async def _copy_data(batch: Batch) -> AsyncIterator[bytes]:
    yield HEAD
    for rows in batch.encoded:
        yield rows.data
    yield TAIL


def _slice_record(batch: Batch, seq: int, row: SliceRow) -> tuple[object, ...]:
    part = row.slice
    errors = msgspec.json.encode(_errors(part)).decode() if part.errors else None
    return (
        batch.run,
        batch.moment(part.second),
        batch.number,
        seq,
        text(row.uuid),
        part.second,
        text(part.timer),
        part.count,
        part.total,
        part.squares,
        part.minimum,
        part.maximum,
        errors,
        part.late,
        part.failed,
        part.untimed,
        part.histogram,
    )


def _errors(part: Slice) -> dict[str, int | tuple[int, str, str]]:
    """Return the errors of a slice as they are stored: by text the count, or count, kind and code if known."""
    kinds = part.kinds
    return {
        error: (count, kinds[error].kind, kinds[error].code) if error in kinds else count
        for error, count in part.errors.items()
    }
