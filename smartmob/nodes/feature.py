"""The composition of the feature `nodes` from its dependencies."""

from __future__ import annotations

from smartmob.kernel.auth.node_access import service_secret
from smartmob.kernel.features import Dependencies, Feature
from smartmob.nodes import routes
from smartmob.nodes.service import NodesService
from smartmob.nodes.store import NodeStore


def build(dependencies: Dependencies) -> Feature[NodesService]:
    """Return the feature."""
    token, services, access = dependencies.settings.token, dependencies.services, dependencies.tokens.node_access
    service = NodesService(NodeStore(dependencies.database, services), services, token)

    async def start() -> None:
        access.set_service_secret(service_secret(token or "", services.id))

    return Feature(
        service,
        routes.table(service, dependencies.bodies, dependencies.tokens),
        background_tasks={"nodes-refresh": service.run_refresh},
        start=start,
        stop=service.stop,
    )
