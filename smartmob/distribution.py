"""The placement of each table when the database is distributed by Citus. A new table needs an entry here.

Tables of a group are joined by their columns, each within one shard. A sharded table has the column in its primary key,
if it has one. The contract test over the SQL of the features uses this table, too.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from smartmob.kernel.db.citus import Distributor
from smartmob.kernel.db.placement import LOCAL, REFERENCE, Placement, Sharded

_SESSION = Sharded("sessions", "session_h")
_HOST = Sharded("hosts", "host")
_RUN = Sharded("runs", "run_id")

PLACEMENTS: Mapping[str, Placement] = MappingProxyType(
    {
        "access_tokens": LOCAL,
        # An alert is unique by its rule and subject, and messages are claimed by row locks across all receivers.
        "alert_notifications": LOCAL,
        "alert_pending": LOCAL,
        "alert_receivers": LOCAL,
        "alert_rules": LOCAL,
        "alert_silences": LOCAL,
        "alerts": LOCAL,
        "audit_events": LOCAL,
        "capacity_searches": LOCAL,
        "command_jobs": LOCAL,
        "command_numbers": LOCAL,
        "database_backups": LOCAL,
        "experiments": LOCAL,
        "host_clocks": _HOST,
        "host_minutes": _HOST,
        "host_progress": LOCAL,
        "host_samples": _HOST,
        "hosts": Sharded("hosts", "name"),
        "marks": LOCAL,
        "node_jobs": LOCAL,
        "node_process_events": LOCAL,
        "node_progress": LOCAL,
        "nodes": LOCAL,
        # They are written in one statement with the processes.
        "process_events": LOCAL,
        "processes": LOCAL,
        "reservations": LOCAL,
        "schema_migrations": LOCAL,
        "service_outbox_records": LOCAL,
        "service_outboxes": LOCAL,
        "services": LOCAL,
        "test_contexts": REFERENCE,
        "test_items": REFERENCE,
        "test_metric_blocks": LOCAL,
        "test_metrics": _SESSION,
        "test_session_contexts": _SESSION,
        "test_sessions": _SESSION,
        "turret_batches": _RUN,
        "turret_claims": LOCAL,
        "turret_health": _RUN,
        "turret_members": _RUN,
        "turret_progress": _RUN,
        "turret_results": _RUN,
        "turret_runs": _RUN,
        "turret_slices": _RUN,
    }
)

DISTRIBUTOR = Distributor(PLACEMENTS)
"""Distributes the tables that further migrations make in a distributed database."""
