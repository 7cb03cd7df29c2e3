"""How the feature `hosts` is put together of its dependencies."""

from __future__ import annotations

from smartmob.hosts.events import SamplesStored
from smartmob.hosts.routes import table as routes
from smartmob.hosts.routes.echo import EchoRoute
from smartmob.hosts.sampler.csvfile import LoadFile
from smartmob.hosts.sampler.gauges import figures
from smartmob.hosts.sampler.sampler import Sampler
from smartmob.hosts.service import HostsService
from smartmob.hosts.session import Subscribers
from smartmob.hosts.store.partitions import MINUTES, SAMPLES, Partitions
from smartmob.hosts.store.reader import HostsReader
from smartmob.hosts.store.writer import HostsWriter
from smartmob.kernel.features import Dependencies, Feature
from smartmob.kernel.observability.prometheus import Gauge, gauges
from smartmob.kernel.runtime.events import ServiceStopping

PARTITIONS = {series.table: series.form for series in (SAMPLES, MINUTES)}
"""The divided tables, with the form of the times in the names of their partitions."""


def build(dependencies: Dependencies) -> Feature[HostsService]:
    """Return the feature; it watches the service's own machine each second."""
    settings, database = dependencies.settings.hosts, dependencies.database
    writer = HostsWriter(database)
    live = dependencies.writer("hosts", writer.commit, SamplesStored)
    service = HostsService(HostsReader(database), writer, Partitions(database), live, dependencies.bus, settings)
    sampler = Sampler(str(settings.disk))
    load_file = LoadFile(dependencies.settings.data_dir, settings.csv_bytes, settings.csv_kept)
    sampler.each_second.extend((service.keep_own, load_file.write))
    watchers = Subscribers(sampler)
    echo = EchoRoute(service, watchers, dependencies.tokens, settings, dependencies.tasks)
    dependencies.bus.subscribe(ServiceStopping, echo.stopping)
    dependencies.metrics_registry.add(gauges(lambda: figures(sampler, lambda: echo.connections, lambda: len(watchers))))
    dependencies.metrics_registry.add(
        gauges(lambda: (Gauge("smartmob_hosts_hashes", "Passwords hashed.", {"": service.hashes}),))
    )
    background_tasks = {
        "hosts-sampler": sampler.look_for_ever,
        "hosts-watchers": watchers.tell_for_ever,
        "hosts-own-samples": service.store_own_for_ever,
        "hosts-maintenance": lambda: service.maintain_for_ever(database.patience),
    }

    async def start() -> None:
        await service.start()
        await sampler.look()

    table = routes.table(service, sampler, echo, dependencies.bodies, dependencies.tokens, dependencies.settings)
    return Feature(service, table, live, background_tasks, start=start)
