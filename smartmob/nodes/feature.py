"""The composition of the feature `nodes` from its dependencies."""

from __future__ import annotations

from smartmob.kernel.features import Dependencies, Feature
from smartmob.nodes import routes
from smartmob.nodes.record_store import RecordStore
from smartmob.nodes.service import Hosts, NodesService, Retention
from smartmob.nodes.store import NodeStore


def build(dependencies: Dependencies, hosts: Hosts) -> Feature[NodesService]:
    """Return the feature. Records of nodes are kept as long as those of the service's own machine."""
    database, settings = dependencies.database, dependencies.settings
    store, records = NodeStore(database, dependencies.services), RecordStore(database)
    retention = Retention(settings.processes.keep_events_days, settings.commands.keep_days)
    service = NodesService(store, dependencies.services, records, hosts, retention)
    return Feature(
        service,
        routes.table(service, dependencies.bodies, dependencies.tokens),
        background_tasks={"nodes-refresh": service.run_refresh, "nodes-expiry": service.run_expiry},
        stop=service.stop,
    )
