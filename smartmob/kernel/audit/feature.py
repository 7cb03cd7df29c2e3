"""The composition of the audit log. It belongs to the kernel, but has a route and a writer like a feature."""

from __future__ import annotations

from smartmob.kernel.audit import routes
from smartmob.kernel.audit.events import CommandCalled
from smartmob.kernel.audit.service import AuditService
from smartmob.kernel.audit.store import AuditStore
from smartmob.kernel.auth.events import CredentialRefused
from smartmob.kernel.features import Dependencies, Feature

_COMMIT_DELAY_SECONDS = 0.02
"""Seconds for which events are collected for one commit. No request waits for it; a commit for each event would add
15 % to the cost of a command."""


def build(dependencies: Dependencies) -> Feature[AuditService]:
    """Return the feature that records and lists changes."""
    store = AuditStore(dependencies.database)
    writer = dependencies.writer("audit", store.commit, delay=_COMMIT_DELAY_SECONDS)
    service = AuditService(store, writer, dependencies.settings.audit_keep_days)
    dependencies.bus.subscribe(CredentialRefused, service.record_refusal)
    dependencies.bus.subscribe(CommandCalled, service.record_command)
    return Feature(
        routes.table(service), writer, background_tasks={"audit-expiry": service.run_expiry}, service=service
    )
