"""The composition of the feature `experiments`: its store, service and routes."""

from __future__ import annotations

from smartmob.experiments import routes
from smartmob.experiments.service import ExperimentsService
from smartmob.experiments.store import ExperimentStore
from smartmob.kernel.features import Dependencies, Feature


def build(dependencies: Dependencies) -> Feature[ExperimentsService]:
    """Return the feature."""
    store = ExperimentStore(dependencies.database)
    service = ExperimentsService(store, dependencies.bus, dependencies.settings.experiments)
    work = {"experiments-maintenance": service.run_maintenance}
    return Feature(routes.table(service, dependencies.bodies), background_tasks=work, service=service)
