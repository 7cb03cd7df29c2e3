"""The table of the feature `experiments`."""

from __future__ import annotations

from datetime import datetime
from typing import TypeVar
from uuid import UUID

import msgspec

from smartmob.experiments.model import ExperimentReport, Pair, VerdictOnTest
from smartmob.experiments.stored_experiment import Details, ExperimentSummary, details_of
from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Database

PACKAGE = "smartmob.experiments"


class ExperimentStore:
    """Reads and writes experiments; each is one row."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)

    async def insert(self, report: ExperimentReport, summary: ExperimentSummary, digest: bytes) -> bool:
        """Store an experiment; return False, and change nothing, if one with this id exists."""
        parts = (summary, details_of(report, summary), report.tests, report.pairs)
        row = (
            *(summary.id, summary.started_at, summary.ended_at, summary.stored_at, summary.machine, digest),
            *(msgspec.json.encode(part).decode() for part in parts),
        )
        found = await self._database.run(lambda connection: connection.fetchval(self._sql["insert_experiment"], *row))
        return found is not None

    async def digest(self, ident: UUID) -> bytes | None:
        """Return the digest of an experiment, or None."""
        row = await self._database.fetchrow(self._sql["select_digest"], ident)
        return None if row is None else bytes(row["digest"])

    async def newest(
        self, machine: str | None, before: tuple[datetime, UUID] | None, limit: int
    ) -> list[ExperimentSummary]:
        """Return at most `limit` experiments, newest first, of one machine or all, after the key `before`."""
        rows = await self._database.fetch(
            self._sql["select_experiments"], machine, *(before or (None, None)), limit
        )  # fmt: skip
        return [_decoded(row["summary"], ExperimentSummary) for row in rows]

    async def between(self, start: datetime, end: datetime, limit: int) -> list[ExperimentSummary]:
        """Return the newest experiments that ran in a span."""
        rows = await self._database.fetch(self._sql["select_experiments_between"], start, end, limit)
        return [_decoded(row["summary"], ExperimentSummary) for row in rows]

    async def details(self, ident: UUID) -> Details | None:
        """Return an experiment without its tests and pairs, or None."""
        row = await self._database.fetchrow(self._sql["select_details"], ident)
        return None if row is None else _decoded(row["details"], Details)

    async def tests(self, ident: UUID) -> list[VerdictOnTest] | None:
        """Return the tests of an experiment, or None."""
        row = await self._database.fetchrow(self._sql["select_tests"], ident)
        return None if row is None else _decoded(row["tests"], list[VerdictOnTest])

    async def pairs(self, ident: UUID) -> list[Pair] | None:
        """Return the pairs of an experiment, or None."""
        row = await self._database.fetchrow(self._sql["select_pairs"], ident)
        return None if row is None else _decoded(row["pairs"], list[Pair])

    async def delete(self, ident: UUID) -> bool:
        """Delete an experiment; return whether it existed."""
        found = await self._database.run(lambda connection: connection.fetchval(self._sql["delete_experiment"], ident))
        return found is not None

    async def expire(self, before: datetime) -> int:
        """Delete the experiments that were stored before a time; return their number."""
        rows = await self._database.run(
            lambda connection: connection.fetch(self._sql["delete_old_experiments"], before)
        )  # fmt: skip
        return len(rows)


T = TypeVar("T")


def _decoded(text: str, kind: type[T]) -> T:
    return msgspec.json.decode(text, type=kind)
