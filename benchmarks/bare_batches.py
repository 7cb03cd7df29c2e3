"""The least that a server can do to commit rows before it answers: all that wait together are one COPY.

The table has no index, nothing is checked, and an error of the database ends the program.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import asyncpg


class BareBatches:
    """Commits rows in shared batches; `columns` are the names of the columns of a table and their types."""

    def __init__(self, dsn: str, table: str, columns: Sequence[tuple[str, str]]) -> None:
        self._dsn = dsn
        self._table = table
        self._columns = columns
        self._waiting: list[tuple[tuple[object, ...], asyncio.Future[None]]] = []
        self._work = asyncio.Event()

    async def run_writes(self) -> None:
        """Make the table, and commit what comes."""
        connection = await asyncpg.connect(self._dsn)
        columns = ", ".join(f"{name} {kind}" for name, kind in self._columns)
        await connection.execute(f"CREATE TABLE IF NOT EXISTS {self._table} ({columns})")
        names = [name for name, _ in self._columns]
        while True:
            await self._work.wait()
            self._work.clear()
            batch, self._waiting = self._waiting, []
            rows = [row for row, _ in batch]
            await connection.copy_records_to_table(self._table, records=rows, columns=names)
            for _, done in batch:
                done.set_result(None)

    async def commit(self, row: tuple[object, ...]) -> None:
        """Return when a row is committed."""
        done = asyncio.get_running_loop().create_future()
        self._waiting.append((row, done))
        self._work.set()
        await done
