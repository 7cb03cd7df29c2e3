"""How the room `processes` is put together of what the house gives it."""

from __future__ import annotations

from smartmob.kernel.rooms import House, Room
from smartmob.processes import routes
from smartmob.processes.ports import Ports
from smartmob.processes.preparer import Preparer
from smartmob.processes.service import ProcessesService
from smartmob.processes.store import ProcessStore
from smartmob.settings import Settings


def build(house: House) -> Room:
    """Return the room; its processes end when the service begins to stop."""
    settings, store = house.settings.processes, ProcessStore(house.database)
    live = house.writer("processes", store.commit)
    ports = Ports(settings.base_port, _own_ports(house.settings))
    folder, least_free = house.settings.data_dir / "processes", house.settings.least_free
    preparer = Preparer(folder, house.nursery, house.tasks, ports, settings, least_free=least_free)
    service = ProcessesService(store, live, preparer, house, settings)
    works = {"process-samples": service.sample_for_ever, "process-maintenance": service.maintain_for_ever}
    table = routes.table(service, house, settings.viewer_bytes)
    return Room(table, live, works, service.start, service.close, service.stop, service)


def _own_ports(settings: Settings) -> set[int]:
    """Return the ports that the service itself listens on."""
    turrets = settings.turrets
    return {settings.port, *((turrets.hq_publish_port, turrets.hq_rc_port, turrets.hq_external_port) * turrets.hq)}
