"""The composition of the console: it stands above the features and calls their services."""

from __future__ import annotations

from smartmob.alerts.service import AlertsService
from smartmob.console.live import Live
from smartmob.console.peers import RemoteServices
from smartmob.console.routes import table as routes
from smartmob.console.service import ConsoleService
from smartmob.console.services import Services
from smartmob.console.usage import UsageRecorder
from smartmob.kernel.features import Dependencies, Feature


def build(dependencies: Dependencies, services: Services, alerts: AlertsService) -> Feature[ConsoleService]:
    """Return the console as a feature without tables."""
    service = ConsoleService(services, alerts)
    live = Live(service, dependencies.bus)
    usage = UsageRecorder(services.processes)
    table = routes.table(service, live, RemoteServices(dependencies.settings.console), usage, dependencies)
    return Feature(table, background_tasks={"console-live": live.run, "console-usage": usage.run}, service=service)
