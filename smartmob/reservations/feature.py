"""The composition of the feature `reservations` from its dependencies."""

from __future__ import annotations

from smartmob.kernel.features import Dependencies, Feature
from smartmob.reservations import routes
from smartmob.reservations.service import Nodes, ReservationsService
from smartmob.reservations.store import ReservationStore


def build(dependencies: Dependencies, nodes: Nodes) -> Feature[ReservationsService]:
    """Return the feature."""
    store = ReservationStore(dependencies.database, dependencies.services)
    service = ReservationsService(store, dependencies.guard, nodes)
    return Feature(
        routes.table(service, dependencies.bodies),
        background_tasks={"reservations-refresh": service.run_refresh},
        start=service.start,
        service=service,
    )
