"""The composition of the feature `alerts`: its store, observers, evaluator, deliverer, service and routes."""

from __future__ import annotations

import random
import socket

from smartmob.alerts import routes
from smartmob.alerts.deliverer import Deliverer
from smartmob.alerts.evaluator import Evaluator
from smartmob.alerts.mail_addresses import MailServer, parse_server
from smartmob.alerts.mailer import Mailer
from smartmob.alerts.observers import Observers
from smartmob.alerts.rule_lines import parse_receiver, parse_rule
from smartmob.alerts.service import AlertsService
from smartmob.alerts.sources import Sources
from smartmob.alerts.store import AlertStore
from smartmob.alerts.webhook import WebhookSender
from smartmob.commands.events import JobEnded
from smartmob.errors import InvalidInput, SettingsError
from smartmob.feature_settings import AlertsSettings
from smartmob.kernel.features import Dependencies, Feature
from smartmob.kernel.observability.prometheus import Gauge, gauges
from smartmob.kernel.runtime.datadir import DirectoryId
from smartmob.kernel.runtime.events import EventBus
from smartmob.metrics.events import MetricsStored, SessionStored
from smartmob.processes.events import ProcessExited
from smartmob.settings import secret
from smartmob.turrets.events import RunFinished


def build(dependencies: Dependencies, sources: Sources) -> Feature[AlertsService]:
    """Return the feature, which observes `sources`. Raises SettingsError for rules and receivers that are not valid."""
    settings, bus = dependencies.settings.alerts, dependencies.bus
    name = dependencies.settings.hosts.name or socket.gethostname()
    store = AlertStore(dependencies.database)
    webhooks = WebhookSender(settings.timeout, public_only=settings.public_only, ca_file=settings.ca_file)
    mailer = Mailer(_mail_server(settings, name), settings.timeout, settings.ca_file)
    url = None if settings.url is None else f"{settings.url.rstrip('/')}/console/alerts"
    deliverer = Deliverer(store, webhooks, mailer, random.random, timeout=settings.timeout, service=name, url=url)
    observers = Observers(sources, name, dependencies.settings.data_dir, settings.settle)
    directory = DirectoryId(dependencies.settings.data_dir / "alerts" / "id")
    evaluator = Evaluator(store, observers, bus, settings, deliverer.wake, own_id=lambda: str(directory.value))
    service = AlertsService(store, evaluator, deliverer.wake)
    _subscribe(bus, observers, evaluator)

    key = secret(settings.secret_file, "--alerts-secret-file") if settings.secret_file else ""
    rules = [parse_rule(text, "--alerts-rules") for text in settings.rules]
    receivers = [parse_receiver(text, "--alerts-receivers", key) for text in settings.receivers]

    async def start() -> None:
        _ = directory.value  # create its file now: later the disk may be full
        try:
            await service.load_settings(rules, receivers)
        except InvalidInput as error:
            raise SettingsError(f"--alerts-rules or --alerts-receivers: {error}") from None

    dependencies.metrics_registry.add(
        gauges(
            lambda: (
                Gauge("smartmob_alerts_active", "Alerts that are firing.", {"": evaluator.counts.active}),
                Gauge(
                    "smartmob_alerts_waiting", "Notifications that are not sent yet.", {"": evaluator.counts.waiting}
                ),
                Gauge(
                    "smartmob_alerts_failed",
                    "Notifications that could not be delivered.",
                    {"": evaluator.counts.failed},
                ),
                Gauge("smartmob_alerts_attempts", "Attempts to send by outcome.", deliverer.counts, "outcome"),
                Gauge("smartmob_alerts_looks", "Evaluations of all rules.", {"": evaluator.evaluations}),
            )
        )
    )
    background_tasks = {"alerts-evaluator": evaluator.run, "alerts-deliverer": deliverer.run}
    table = routes.table(service, dependencies.bodies)
    return Feature(table, None, background_tasks, start=start, close=deliverer.close, service=service)


def _subscribe(bus: EventBus, observers: Observers, evaluator: Evaluator) -> None:
    """Evaluate soon after events that may fire an alert; all other changes are seen at the next regular evaluation."""
    bus.subscribe(SessionStored, lambda event: observers.session_arrived(event.session_h))
    bus.subscribe(MetricsStored, lambda _: observers.measures_arrived())
    bus.subscribe(RunFinished, lambda _: evaluator.wake())
    bus.subscribe(ProcessExited, lambda _: evaluator.wake())

    def job_ended(event: JobEnded) -> None:
        if event.exit_code != 0:
            evaluator.wake()

    bus.subscribe(JobEnded, job_ended)


def _mail_server(settings: AlertsSettings, name: str) -> MailServer | None:
    if settings.mail_server is None:
        return None
    file = settings.mail_password_file
    password = secret(file, "--alerts-mail-password-file") if file else ""
    return parse_server(settings.mail_server, settings.mail_from or "", password, name)
