"""Writes the tables of the feature `turrets`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import datetime
from uuid import UUID

import msgspec

from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Connection, Database
from smartmob.kernel.db.writer import Submission
from smartmob.turrets.hq.batch import Batch, SliceRow
from smartmob.turrets.hq.machine_events import RunState
from smartmob.turrets.hq.rows import COLUMNS, HEAD, TAIL, text
from smartmob.turrets.model import Counters, Member
from smartmob.turrets.store.partitions import Partitions

PACKAGE = "smartmob.turrets"

_SLICE_COLUMNS = (
    *("run_id", "at", "batch", "seq", "uuid", "second", "timer", "count", "total", "squares", "minimum", "maximum"),
    *("errors", "late", "histogram"),
)


class TurretsWriter:
    """Writes runs, turrets, results and slices."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)
        self._partitions = Partitions()
        self._connection: Connection | None = None

    # -- runs -----------------------------------------------------------------------------------------------------

    async def insert_run(self, headquarters: str, run: RunState, config: bytes, package: bytes | None) -> None:
        """Store a new run."""
        values = (UUID(run.id), headquarters, run.config.name, config.decode(), run.created_at, package)
        await self._database.run(lambda connection: connection.execute(self._sql["insert_run"], *values))

    async def update_run(self, run: RunState, transactions: int, errors: int, counters: Counters) -> None:
        """Store the state of a run."""
        values = (
            *(UUID(run.id), run.state, run.reason, run.stop_asked, run.started_at, run.ceased_at, run.ended_at),
            *(transactions, errors, msgspec.json.encode(counters).decode()),
        )
        await self._database.run(lambda connection: connection.execute(self._sql["update_run"], *values))

    async def keep_summary(self, run: UUID, summary: bytes | None) -> None:
        """Keep the summary of a run that is over, or forget it."""
        values = (run, summary.decode() if summary is not None else None)
        await self._database.run(lambda connection: connection.execute(self._sql["keep_summary"], *values))

    async def upsert_members(self, run: UUID, members: Iterable[Member]) -> None:
        """Store what turrets of a run told last."""
        rows = [(run, text(member.uuid), msgspec.json.encode(member).decode()) for member in members]
        await self._database.run(lambda connection: connection.executemany(self._sql["upsert_member"], rows))

    async def keep_claims(self, headquarters: str, changes: Mapping[str, str | None], now: datetime) -> None:
        """Store which key each uuid belongs to, and remove those that belong to none (None)."""
        kept = {text(uuid): key for uuid, key in changes.items() if key is not None}
        gone = [text(uuid) for uuid, key in changes.items() if key is None]

        async def write(connection: Connection) -> None:
            async with connection.transaction():
                await connection.execute(self._sql["forget_claims"], headquarters, gone)
                await connection.execute(self._sql["upsert_claims"], headquarters, list(kept), list(kept.values()), now)

        await self._database.run(write)

    async def delete_run(self, run: UUID) -> None:
        """Remove a run with everything that belongs to it."""
        await self._database.run(lambda connection: connection.execute(self._sql["delete_run"], run))

    # -- results --------------------------------------------------------------------------------------------------

    async def commit(self, connection: Connection, submissions: Sequence[Submission[Batch]]) -> None:
        """Write batches in one transaction; see `smartmob.kernel.db.writer.Commit`."""
        if connection is not self._connection:
            self._partitions.forget()
            self._connection = connection
        batches = [batch for submission in submissions for batch in submission.rows]
        await self._partitions.ensure(connection, {day for batch in batches for day in batch.days()})
        async with connection.transaction():
            for batch in batches:
                if batch.tried and await connection.fetchval(self._sql["batch_exists"], batch.run, batch.number):
                    continue
                batch.tried = True
                await self._write(connection, batch)

    async def _write(self, connection: Connection, batch: Batch) -> None:
        await connection.execute(
            self._sql["insert_batch"],
            *(batch.run, batch.number, batch.transactions, batch.errors, batch.rows, batch.folded),
        )
        if batch.rows:
            await connection.copy_to_table("turret_results", source=_pieces(batch), columns=COLUMNS, format="binary")
        await self._copy_slices(connection, batch)
        if batch.progress:
            uuids = [text(uuid) for uuid in batch.progress]
            await connection.execute(self._sql["upsert_progress"], batch.run, uuids, list(batch.progress.values()))
        if batch.health:
            columns = zip(*(msgspec.structs.astuple(row) for row in batch.health), strict=True)
            await connection.execute(self._sql["insert_health"], batch.run, *map(list, columns))

    async def _copy_slices(self, connection: Connection, batch: Batch) -> None:
        if batch.slices:
            records = [_slice_record(batch, seq, row) for seq, row in enumerate(batch.slices)]
            await connection.copy_records_to_table("turret_slices", records=records, columns=_SLICE_COLUMNS)

    async def fold_again(self, run: UUID, batch: Batch) -> None:
        """Put the slices of `batch` in the place of those that were folded of a run's results."""

        async def write(connection: Connection) -> None:
            await self._partitions.ensure(connection, batch.days())
            async with connection.transaction():
                await connection.execute(self._sql["forget_folded"], run)
                await self._copy_slices(connection, batch)
                await connection.execute(self._sql["mark_folded"], run)

        await self._database.run(write)

    # -- retention ------------------------------------------------------------------------------------------------

    async def make_partitions(self, now: datetime) -> None:
        """Make the partitions of the next days."""
        await self._database.run(lambda connection: self._partitions.ensure_ahead(connection, now))

    async def expire(self, before: datetime) -> tuple[int, int]:
        """Remove what is older than a time; return how many runs and partitions went."""
        old = [row["run_id"] for row in await self._database.fetch(self._sql["old_runs"], before)]
        for run in old:
            await self.delete_run(run)
        dropped = await self._database.run(
            lambda connection: self._partitions.drop_before(connection, self._sql["partitions"], before)
        )
        return len(old), dropped


async def _pieces(batch: Batch) -> AsyncIterator[bytes]:
    yield HEAD
    for piece in batch.pieces:
        yield piece.data
    yield TAIL


def _slice_record(batch: Batch, seq: int, row: SliceRow) -> tuple[object, ...]:
    part = row.slice
    errors = msgspec.json.encode(part.errors).decode() if part.errors else None
    return (
        *(batch.run, batch.moment(part.second), batch.number, seq, text(row.uuid), part.second, text(part.timer)),
        *(part.count, part.total, part.squares, part.minimum, part.maximum, errors, part.late, part.histogram),
    )
