"""How the room `hosts` is put together of what the house gives it."""

from __future__ import annotations

from smartmob.hosts.events import SamplesStored
from smartmob.hosts.routes import table as routes
from smartmob.hosts.routes.echo import EchoRoute
from smartmob.hosts.sampler.csvfile import LoadFile
from smartmob.hosts.sampler.figures import figures
from smartmob.hosts.sampler.ticking import Sampler
from smartmob.hosts.service import HostsService
from smartmob.hosts.session import Watchers
from smartmob.hosts.store.partitions import MINUTES, SAMPLES, Partitions
from smartmob.hosts.store.reader import HostsReader
from smartmob.hosts.store.writer import HostsWriter
from smartmob.kernel.events import ServiceStopping
from smartmob.kernel.prometheus import Gauge, gauges
from smartmob.kernel.rooms import House, Room

PARTITIONS = {series.table: series.form for series in (SAMPLES, MINUTES)}
"""The divided tables, with the form of the times in the names of their partitions."""


def build(house: House) -> Room:
    """Return the room; it watches the service's own machine each second."""
    settings, database = house.settings.hosts, house.database
    writer = HostsWriter(database)
    live = house.writer("hosts", writer.commit, SamplesStored)
    service = HostsService(HostsReader(database), writer, Partitions(database), live, house.bus, settings)
    sampler = Sampler(str(settings.disk))
    load_file = LoadFile(house.settings.data_dir, settings.csv_bytes, settings.csv_kept)
    sampler.each_second.extend((service.keep_own, load_file.write))
    watchers = Watchers(sampler)
    echo = EchoRoute(service, watchers, house.tokens, settings, house.tasks)
    house.bus.subscribe(ServiceStopping, echo.stopping)
    house.figures.add(gauges(lambda: figures(sampler, lambda: echo.connections, lambda: len(watchers))))
    house.figures.add(gauges(lambda: (Gauge("smartmob_hosts_hashes", "Passwords hashed.", {"": service.hashes}),)))
    works = {
        "hosts-sampler": sampler.look_for_ever,
        "hosts-watchers": watchers.tell_for_ever,
        "hosts-own-samples": service.store_own_for_ever,
        "hosts-maintenance": lambda: service.maintain_for_ever(database.patience),
    }

    async def start() -> None:
        await service.start()
        await sampler.look()

    table = routes.table(service, sampler, echo, house.bodies, house.tokens, house.settings)
    return Room(table, live, works, start, face=service)
