"""The packages that own tables, and their partitioned tables."""

from __future__ import annotations

from smartmob.hosts import feature as hosts
from smartmob.turrets import feature as turrets

_FEATURES = (
    *("metrics", "hosts", "processes", "commands", "turrets", "marks", "alerts", "nodes", "reservations"),
    "experiments",
)
"""All features that have tables."""

MIGRATED_FEATURES = {
    "access": "smartmob.kernel.auth",
    "audit": "smartmob.kernel.audit",
    **{name: f"smartmob.{name}" for name in _FEATURES},
    "services": "smartmob.kernel.services",
    "upkeep": "smartmob.kernel.maintenance",
}
"""The packages that own tables, by their names in the table `schema_migrations`, which cannot change."""

PARTITIONS = hosts.PARTITIONS | turrets.PARTITIONS
"""The partitioned tables, with the format of the times in the names of their partitions."""
