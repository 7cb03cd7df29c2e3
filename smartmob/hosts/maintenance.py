"""The maintenance of the tables of samples: partitions, roll-ups, and the removal of old samples."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta

from smartmob.feature_settings import HostsSettings
from smartmob.hosts.store.partitions import MINUTES, SAMPLES, Partitions
from smartmob.hosts.store.writer import HostsWriter
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.periodic import run_periodically

log = get_logger()

_ROLL_SECONDS = 20.0
"""Seconds between two roll-ups."""
_SETTLING_SECONDS = 5.0
"""Margin for differences between the clocks of the database and of services."""
_PARTITIONS_ROUNDS = 180
"""Roll-ups between two rounds of partition maintenance: an hour."""
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class HostMaintenance:
    """Maintains the tables. A sample may be committed up to `patience` seconds after it arrived."""

    def __init__(self, writer: HostsWriter, partitions: Partitions, settings: HostsSettings, patience: float) -> None:
        self._writer = writer
        self._partitions = partitions
        self._settings = settings
        self._patience = patience

    async def start(self) -> None:
        """Create the partitions that the first sample needs."""
        for series in (SAMPLES, MINUTES):
            await self._partitions.keep(series, clock.now(), _EPOCH)

    async def keep_partitions(self, now: datetime) -> None:
        """Create the partitions that are needed soon, and drop the expired ones."""
        samples_before = now - timedelta(days=self._settings.keep_days)
        minutes_before = now - timedelta(days=self._settings.keep_minutes_days)
        for series, before in ((SAMPLES, samples_before), (MINUTES, minutes_before)):
            made, dropped = await self._partitions.keep(series, now, before)
            if dropped:
                log.info("hosts.expired", partitions=dropped)
            if made:
                log.debug("hosts.partitions_made", partitions=made)
        await self._writer.expire(samples_before, minutes_before)

    async def roll_up(self, lag: float) -> int:
        """Roll up the samples that arrived until `lag` seconds ago; return how many minutes changed."""
        return await self._writer.roll_up(lag)

    async def run(self) -> None:
        """Roll up every 20 seconds and maintain the partitions every hour, until cancelled."""
        rounds = itertools.count()
        await run_periodically(
            lambda: self._maintain(next(rounds)),
            _ROLL_SECONDS,
            lambda error: log.warning("hosts.maintenance_failed", reason=str(error)),
        )

    async def _maintain(self, number: int) -> None:
        # Samples must be rolled up before their partition is dropped. Younger ones may not be committed yet.
        await self.roll_up(self._patience + _SETTLING_SECONDS)
        if number % _PARTITIONS_ROUNDS == 0:
            await self.keep_partitions(clock.now())
