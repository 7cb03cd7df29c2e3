"""The maintenance of the tables of load tests: partitions for the next days, and the removal of old runs."""

from __future__ import annotations

from datetime import datetime, timedelta

from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.periodic import run_periodically
from smartmob.turrets.service.searches import CapacitySearches
from smartmob.turrets.store.writer import TurretsWriter

log = get_logger()

_MAINTENANCE_SECONDS = 3600.0


class RunMaintenance:
    """Removes runs and capacity searches that are older than `keep_days` (None: never), and makes partitions ahead."""

    def __init__(self, writer: TurretsWriter, keep_days: float | None, searches: CapacitySearches) -> None:
        self._writer = writer
        self._searches = searches
        self._keep_days = keep_days

    async def run(self) -> None:
        """Maintain the tables each hour."""
        await run_periodically(
            lambda: self.maintain(clock.now()),
            _MAINTENANCE_SECONDS,
            lambda error: log.warning("turrets.maintenance_failed", reason=str(error)),
        )

    async def maintain(self, now: datetime) -> None:
        """Make the partitions of the next days, and remove data that are older than `keep_days`."""
        await self._writer.make_partitions(now)
        if self._keep_days is not None:
            await self._searches.expire(now - timedelta(days=self._keep_days))
            runs, partitions = await self._writer.expire(now - timedelta(days=self._keep_days))
            if runs or partitions:
                log.info("turrets.expired", runs=runs, partitions=partitions)
