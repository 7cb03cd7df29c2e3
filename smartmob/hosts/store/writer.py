"""Writes the tables of the feature `hosts`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

import asyncpg

from smartmob.hosts.fields import NAMES
from smartmob.hosts.model import SampleRow
from smartmob.hosts.store.reader import load_queries
from smartmob.kernel.db.database import Connection, Database, is_duplicate
from smartmob.kernel.db.node_connections import NodeConnections
from smartmob.kernel.db.shards import RowShards
from smartmob.kernel.db.writer import Submission

_COLUMNS = ("host", "at", "n", *NAMES, "detail")
_ROLLED_AT_ONCE = timedelta(minutes=10)
"""Arrival times that one transaction rolls up."""


class HostsWriter:
    """Writes machines, their samples and the roll-ups."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = load_queries()
        nodes = NodeConnections(database, "host_samples")
        self.shards: RowShards[SampleRow] = RowShards("host_samples", lambda row: row.host, nodes)

    async def insert_host(
        self, name: str, now: datetime, *, own: bool, salt: bytes | None = None, secret: bytes | None = None
    ) -> bool:
        """Insert a machine; return False when the name exists."""

        async def insert(connection: Connection) -> bool:
            return (await connection.execute(self._sql["insert_host"], name, own, salt, secret, now)).endswith(" 1")

        return await self._database.run(insert)

    async def put_node_host(self, name: str, now: datetime, secret: bytes) -> bool:
        """Store the machine of a node; return False when the name belongs to a machine that is no node."""

        async def put(connection: Connection) -> bool:
            return bool(await connection.fetch(self._sql["put_node_host"], name, secret, now))

        return await self._database.run(put)

    async def claim_own(self, name: str, service: str, now: datetime, others: Sequence[str]) -> bool:
        """Make a machine the own one of a service.

        Return False when the name belongs to a machine that registered, or is the own machine of one of `others`.
        """

        async def claim(connection: Connection) -> bool:
            return bool(await connection.fetch(self._sql["claim_own"], name, service, now, others))

        return await self._database.run(claim)

    async def delete_host(self, name: str) -> bool:
        """Delete a machine with its samples; return whether it existed."""

        async def delete(connection: Connection) -> bool:
            async with connection.transaction():
                status = await connection.execute(self._sql["delete_host"], name)
                if status.endswith(" 0"):
                    return False
                for query in ("delete_samples", "delete_minutes", "delete_clocks"):
                    await connection.execute(self._sql[query], name)
                return True

        return await self._database.run(delete)

    async def insert_offset(self, name: str, now: datetime, offset: float, delay: float) -> None:
        """Insert a measured clock error, in seconds."""
        await self._database.run(
            lambda connection: connection.execute(self._sql["insert_offset"], name, now, offset, delay)
        )

    async def commit(self, connection: Connection, submissions: Sequence[Submission[SampleRow]]) -> None:
        """Write the samples of all submissions in one transaction; see `smartmob.kernel.db.writer.Commit`."""
        rows = [row for submission in submissions for row in submission.rows]
        again = submissions[0].commit_key is not None
        for submission in submissions:
            submission.commit_key = True
        if not again:
            try:
                await self._insert(connection, rows, separate=len(rows) == len(submissions))
            except asyncpg.PostgresError as error:
                if not is_duplicate(error):
                    raise
                # A sample was sent twice: the slower INSERT skips existing ones.
                again = True
        if again:
            await connection.execute(self._sql["insert_samples"], *_arrays(rows))

    async def _insert(self, connection: Connection, rows: Sequence[SampleRow], *, separate: bool) -> None:
        from_seconds = datetime.fromtimestamp
        records = [(row.host, from_seconds(row.at, UTC), row.n, *row.values, row.detail) for row in rows]
        await self.shards.insert(connection, _COLUMNS, records, separate=separate)

    async def roll_up(self, lag: float) -> int:
        """Update the minutes of samples that arrived until `lag` seconds ago; return how many minutes changed.

        With a row lock, only one of several services on a database does this at a time.
        """

        async def step(connection: Connection, width: timedelta) -> tuple[int, bool]:
            async with connection.transaction():
                row = await connection.fetchrow(self._sql["lock_progress"], lag)
                assert row is not None
                since, complete_until = row["until"], row["settled"]
                if since.year == datetime.min.year:
                    first = await connection.fetchval(self._sql["first_arrival"])
                    since = complete_until if first is None else first - timedelta(seconds=1)
                until = min(complete_until, since + width)
                if until <= since:
                    return 0, True
                await connection.execute(self._sql["join_by_index"])
                status = await connection.execute(self._sql["roll_up"], since, until, row["now"])
                await connection.execute(self._sql["move_progress"], until)
                return int(status.rpartition(" ")[2]), until == complete_until

        minutes, done, width = 0, False, _ROLLED_AT_ONCE
        while not done:
            touched, done = await self._database.run(partial(step, width=width))
            minutes += touched
            # Times without arrivals are skipped in growing steps.
            width = _ROLLED_AT_ONCE if touched else width * 2
        return minutes

    async def expire(self, samples_before: datetime, minutes_before: datetime) -> None:
        """Delete expired rows of the default partitions and expired clock errors."""

        async def expire(connection: Connection) -> None:
            await connection.execute(self._sql["expire_rest_samples"], samples_before)
            await connection.execute(self._sql["expire_rest_minutes"], minutes_before)
            await connection.execute(self._sql["expire_clocks"], minutes_before)

        await self._database.run(expire)


def _arrays(rows: Sequence[SampleRow]) -> list[list[object]]:
    """Return the columns of the rows as the arguments of `insert_samples`."""
    cells = [(row.host, row.at, row.n, *row.values, row.detail) for row in rows]
    return [list(column) for column in zip(*cells, strict=True)]
