"""The intake of the records of nodes: it stores the records that nodes send, and deletes old ones."""

from __future__ import annotations

from datetime import datetime, timedelta

import msgspec

from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.periodic import run_periodically
from smartmob.nodes import protocol
from smartmob.nodes.links import Link
from smartmob.nodes.record_store import RecordStore

log = get_logger()

_EXPIRY_SECONDS = 3600.0
"""The interval at which records that are older than their retention are deleted."""


class Retention(msgspec.Struct, frozen=True):
    """The days for which process events and jobs of nodes are kept."""

    event_days: float
    job_days: float


class RecordIntake:
    """Stores the records of connected nodes, and deletes those that are older than their retention."""

    def __init__(self, records: RecordStore, retention: Retention) -> None:
        self._records = records
        self._retention = retention

    async def store(self, link: Link, message: protocol.Records) -> int:
        """Store records of a node; return the number up to which all are stored. Raises Unavailable."""
        offset = link.facts.clock_offset
        before = (await self._records.progress(link.node))[1]
        if message.dropped > before:
            log.warning("node.records_dropped", node=link.node, dropped=message.dropped)
        return await self._records.put(link.node, message.journal, message.records, message.dropped, offset)

    async def run_expiry(self) -> None:
        """Background task: delete old records after the start and once an hour."""
        await run_periodically(
            lambda: self.expire(clock.now()),
            _EXPIRY_SECONDS,
            lambda error: log.warning("node.records_not_expired", reason=str(error)),
        )

    async def expire(self, now: datetime) -> None:
        """Delete the records that are older than their retention."""
        days = self._retention
        await self._records.expire(now - timedelta(days=days.event_days), now - timedelta(days=days.job_days))
