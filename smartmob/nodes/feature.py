"""The composition of the feature `nodes` from its dependencies."""

from __future__ import annotations

from smartmob.kernel.features import Dependencies, Feature
from smartmob.nodes import routes
from smartmob.nodes.service import NodesService
from smartmob.nodes.store import NodeStore


def build(dependencies: Dependencies) -> Feature[NodesService]:
    """Return the feature."""
    service = NodesService(
        NodeStore(dependencies.database, dependencies.services), dependencies.services, dependencies.bus
    )
    return Feature(
        service,
        routes.table(service, dependencies.bodies, dependencies.tokens),
        background_tasks={"nodes-refresh": service.run_refresh},
        stop=service.stop,
    )
