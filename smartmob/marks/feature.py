"""The composition of the feature `marks`: its store, service and routes."""

from __future__ import annotations

from smartmob.kernel.features import Dependencies, Feature
from smartmob.marks import routes
from smartmob.marks.service import MarksService
from smartmob.marks.store import MarkStore


def build(dependencies: Dependencies) -> Feature[MarksService]:
    """Return the feature."""
    store = MarkStore(dependencies.database)
    live = dependencies.writer("marks", store.commit)
    service = MarksService(store, live, dependencies.bus)
    return Feature(routes.table(service, dependencies.bodies), live, service=service)
