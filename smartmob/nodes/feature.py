"""The composition of the feature `nodes` from its dependencies."""

from __future__ import annotations

from smartmob.kernel.auth.node_access import service_secret
from smartmob.kernel.features import Dependencies, Feature
from smartmob.nodes import routes
from smartmob.nodes.record_intake import RecordIntake, Retention
from smartmob.nodes.record_store import RecordStore
from smartmob.nodes.service import Hosts, NodesService
from smartmob.nodes.store import NodeStore


def build(dependencies: Dependencies, hosts: Hosts) -> Feature[NodesService]:
    """Return the feature. Records of nodes are kept as long as those of the service's own machine."""
    database, settings, services = dependencies.database, dependencies.settings, dependencies.services
    retention = Retention(settings.processes.keep_events_days, settings.commands.keep_days)
    store, records, bus = NodeStore(database, services), RecordStore(database), dependencies.bus
    intake = RecordIntake(records, retention)
    service = NodesService(
        store, services, records, hosts, intake, bus=bus, token=settings.token, guard=dependencies.guard
    )

    async def start() -> None:
        access = dependencies.tokens.node_access
        access.set_service_secret(service_secret(settings.token or "", services.id))

    return Feature(
        routes.table(service, dependencies.bodies, dependencies.tokens),
        background_tasks={"nodes-refresh": service.run_refresh, "nodes-expiry": intake.run_expiry},
        start=start,
        stop=service.stop,
        service=service,
    )
