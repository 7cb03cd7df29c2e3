"""The feature `hosts`, composed from its dependencies."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from smartmob.errors import SettingsError
from smartmob.hosts.events import AddressSeen, SamplesStored
from smartmob.hosts.maintenance import HostMaintenance
from smartmob.hosts.routes import table as routes
from smartmob.hosts.routes.echo import EchoRoute
from smartmob.hosts.sampler import devices
from smartmob.hosts.sampler.csvfile import LoadCsv
from smartmob.hosts.sampler.gauges import host_gauges
from smartmob.hosts.sampler.machine_files import Roots
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
"""The partitioned tables, each with the strftime format of the times in the names of its partitions."""


def build(dependencies: Dependencies, *, worker_of: str | None = None) -> Feature[HostsService]:
    """Return the feature, which samples the service's own machine each second.

    In a worker, which gets the name of that machine by `worker_of`, it samples only for its subscribers: the owner
    stores the samples, and maintains the tables.
    """
    settings, database, in_worker = dependencies.settings.hosts, dependencies.database, worker_of is not None
    if worker_of is not None:
        settings = replace(settings, name=worker_of)
    writer = HostsWriter(database)
    live = dependencies.writer("hosts", writer.commit, SamplesStored, shards=writer.shards)
    parts = (HostsReader(database), writer, live, dependencies.bus, dependencies.services)
    service = HostsService(*parts, settings=settings)
    maintenance = HostMaintenance(writer, Partitions(database), settings, database.patience)
    load_file = LoadCsv(dependencies.settings.data_dir, settings.csv_bytes, settings.csv_kept)
    on_second = () if in_worker else (service.queue_own, load_file.write)
    sampler = Sampler(chosen := devices.choice(settings.disk, settings.net), on_second=on_second)
    subscribers = Subscribers(sampler)
    echo = EchoRoute(service, subscribers, dependencies.tokens, settings, dependencies.tasks)
    dependencies.bus.subscribe(ServiceStopping, echo.stopping)
    dependencies.metrics_registry.add(
        gauges(lambda: host_gauges(sampler, lambda: echo.connections, lambda: len(subscribers)))
    )
    dependencies.metrics_registry.add(
        gauges(lambda: (Gauge("smartmob_hosts_hashes", "Passwords hashed.", {"": service.hashes}),))
    )
    dependencies.readiness.add("hosts", sampler.check, quiet=True)
    background_tasks = {
        "hosts-sampler": sampler.run,
        "hosts-watchers": subscribers.run,
    }
    if not in_worker:
        background_tasks["hosts-own-samples"] = service.run_own_storage
        background_tasks["hosts-maintenance"] = maintenance.run
    dependencies.bus.subscribe(AddressSeen, service.keep_address)

    async def start() -> None:
        if wrong := await asyncio.to_thread(devices.wrong_choice, chosen, Roots()):
            flag, name, reason = wrong
            raise SettingsError(f"--hosts-{flag} {name}: {reason}")
        if not in_worker:
            await maintenance.start()
            await service.start()
        await sampler.read()

    table = routes.table(service, sampler, echo, dependencies.bodies, dependencies.tokens, dependencies.settings)
    return Feature(table, live, background_tasks, start=start, service=service)
