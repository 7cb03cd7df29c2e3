"""The composition of the audit log. It belongs to the kernel, but has a route and a writer like a feature."""

from __future__ import annotations

from smartmob.kernel.audit import routes
from smartmob.kernel.audit.events import CommandCalled, LoginRefused
from smartmob.kernel.audit.service import AuditService
from smartmob.kernel.audit.store import AuditStore
from smartmob.kernel.auth.attempt_limit import AttemptLimit
from smartmob.kernel.features import Dependencies, Feature
from smartmob.kernel.runtime.events import EventBus


def build(dependencies: Dependencies) -> Feature[AuditService]:
    """Return the feature that records and lists changes."""
    store = AuditStore(dependencies.database)
    writer = dependencies.writer("audit", store.commit)
    service = AuditService(store, writer, dependencies.settings.audit_keep_days)
    tell_refusals(dependencies.tokens.tries, dependencies.bus)
    dependencies.bus.subscribe(LoginRefused, service.record_refusal)
    dependencies.bus.subscribe(CommandCalled, service.record_command)
    return Feature(service, routes.table(service), writer, background_tasks={"audit-expiry": service.run_expiry})


def tell_refusals(tries: AttemptLimit, bus: EventBus) -> None:
    """Publish the refused logins of this process; those of a worker reach the audit log at the owner."""
    tries.on_refused = lambda shown: bus.publish(LoginRefused(shown.client or "", shown.kind, shown.path))
