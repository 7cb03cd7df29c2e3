"""The use cases of the feature `experiments`: stored results of `smartmob ab`."""

from __future__ import annotations

import hashlib
from datetime import datetime, timedelta
from typing import TypeVar
from uuid import UUID

import msgspec

from smartmob.errors import Conflict, NotFound
from smartmob.experiments.events import ExperimentDeleted, ExperimentStored
from smartmob.experiments.model import ExperimentReport, Pair, VerdictOnTest
from smartmob.experiments.store import ExperimentStore
from smartmob.experiments.stored_experiment import Details, ExperimentSummary, report_of, summary_of
from smartmob.feature_settings import ExperimentsSettings
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.periodic import run_periodically

log = get_logger()

_MAINTENANCE_SECONDS = 3600.0


class ExperimentsService:
    """The use cases of the feature."""

    def __init__(self, store: ExperimentStore, bus: EventBus, settings: ExperimentsSettings) -> None:
        self._store = store
        self._bus = bus
        self._keep_days = settings.keep_days

    async def store(self, report: ExperimentReport) -> tuple[ExperimentSummary, bool]:
        """Store an experiment; return its summary, and whether it is new.

        A repeated submission changes nothing. Raises InvalidInput, and Conflict for another experiment with this id.
        """
        summary = summary_of(report, clock.now())
        digest = hashlib.blake2b(msgspec.json.encode(report), digest_size=32).digest()
        if await self._store.insert(report, summary, digest):
            self._bus.publish(ExperimentStored(summary))
            return summary, True
        if await self._store.digest(summary.id) != digest:
            raise Conflict(f"another experiment has the id {summary.id}")
        return (await self.details(summary.id)).summary, False

    async def newest(
        self, machine: str | None, limit: int, before: tuple[datetime, UUID] | None = None
    ) -> list[ExperimentSummary]:
        """Return at most `limit` experiments, newest first, of one machine or all, after the key `before`."""
        return await self._store.newest(machine, before, limit)

    async def between(self, start: datetime, end: datetime, limit: int) -> list[ExperimentSummary]:
        """Return at most `limit` of the newest experiments that ran in a span."""
        return await self._store.between(start, end, limit)

    async def details(self, ident: UUID) -> Details:
        """Return an experiment without its tests and pairs; raises NotFound."""
        return _known(ident, await self._store.details(ident))

    async def tests(self, ident: UUID) -> list[VerdictOnTest]:
        """Return the tests of an experiment; raises NotFound."""
        return _known(ident, await self._store.tests(ident))

    async def pairs(self, ident: UUID) -> list[Pair]:
        """Return the pairs of an experiment; raises NotFound."""
        return _known(ident, await self._store.pairs(ident))

    async def report(self, ident: UUID) -> ExperimentReport:
        """Return the whole report of an experiment; raises NotFound."""
        return report_of(await self.details(ident), await self.tests(ident), await self.pairs(ident))

    async def delete(self, ident: UUID) -> None:
        """Delete an experiment; raises NotFound."""
        if not await self._store.delete(ident):
            raise _not_found(ident)
        self._bus.publish(ExperimentDeleted(ident))

    async def run_maintenance(self) -> None:
        """Remove old experiments after the start and every hour, until it is cancelled."""
        await run_periodically(
            lambda: self.expire(clock.now()),
            _MAINTENANCE_SECONDS,
            lambda error: log.warning("experiments.maintenance_failed", reason=str(error)),
        )

    async def expire(self, now: datetime) -> int:
        """Remove the experiments that are older than the retention time; return their number."""
        if self._keep_days is None:
            return 0
        removed = await self._store.expire(now - timedelta(days=self._keep_days))
        if removed:
            log.info("experiments.expired", experiments=removed)
        return removed


T = TypeVar("T")


def _known(ident: UUID, found: T | None) -> T:
    if found is None:
        raise _not_found(ident)
    return found


def _not_found(ident: UUID) -> NotFound:
    return NotFound(f"there is no experiment {ident}; GET /experiments lists them")
