"""The maintenance of the tables of the feature `metrics`: retention, open blocks after a crash, unused tests."""

from __future__ import annotations

from datetime import datetime, timedelta

from smartmob.feature_settings import MetricsSettings
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.periodic import run_periodically
from smartmob.metrics.store.writer import MetricsWriter

log = get_logger()

_MAINTENANCE_SECONDS = 3600.0
_ABANDONED_AFTER = timedelta(hours=1)
"""Age of an open block that no running service can still be writing to: a block is closed after ten minutes."""


class MaintenanceService:
    """Removes old data and repairs the effects of a crash."""

    def __init__(self, writer: MetricsWriter, settings: MetricsSettings) -> None:
        self._writer = writer
        self._keep_days = settings.keep_days

    async def run(self) -> None:
        """Maintain the tables after the start and every hour, until it is cancelled."""
        await run_periodically(
            lambda: self.maintain(clock.now()),
            _MAINTENANCE_SECONDS,
            lambda error: log.warning("metrics.maintenance_failed", reason=str(error)),
        )

    async def maintain(self, now: datetime) -> None:
        """Close abandoned blocks, and remove expired sessions and tests that no metric refers to."""
        await self._writer.close_abandoned_blocks(now - _ABANDONED_AFTER)
        await self.expire(now)
        if removed := await self._writer.remove_unused_items():
            log.info("metrics.tests_removed", tests=removed)

    async def expire(self, now: datetime) -> tuple[int, int]:
        """Remove sessions and metrics that are older than the retention time; return the number of each."""
        if self._keep_days is None:
            return 0, 0
        sessions, metrics = await self._writer.expire(now - timedelta(days=self._keep_days))
        if sessions or metrics:
            log.info("metrics.expired", sessions=sessions, metrics=metrics)
        return sessions, metrics
