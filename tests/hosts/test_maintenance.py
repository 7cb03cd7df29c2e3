"""The maintenance of the tables of samples."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

from smartmob.feature_settings import HostsSettings
from smartmob.hosts.maintenance import HostMaintenance
from smartmob.hosts.model import SampleData
from smartmob.hosts.service import HostsService
from smartmob.hosts.store.partitions import Partitions
from smartmob.hosts.store.writer import HostsWriter
from smartmob.kernel.db.database import Database
from smartmob.kernel.runtime import clock


async def test_samples_are_rolled_up_before_they_are_dropped(
    feature: Callable[..., HostsService], database: Database, writer: HostsWriter
) -> None:
    """Samples are rolled up before they are dropped, and there is a partition for the next ones."""
    service, settings = feature(), HostsSettings(keep_days=14.0)
    maintenance = HostMaintenance(writer, Partitions(database), settings, 0.0)
    await maintenance.start()
    await service.register("a", "x", may_register=True)
    now = clock.now()
    await service.store("a", [SampleData(time=now.timestamp(), cpu=10.0)])
    assert await maintenance.roll_up(0) == 1
    later = now + timedelta(days=16)
    await maintenance.keep_partitions(now)
    await maintenance.keep_partitions(later)
    assert await database.fetchval("SELECT count(*) FROM host_samples") == 0
    assert await database.fetchval("SELECT samples FROM host_minutes") == 1
    assert await database.fetchval("SELECT to_regclass($1) IS NOT NULL", f"host_samples_{later:%Y%m%d}")
