"""Notifies the process that caches verdicts of the data that a worker has stored."""

from __future__ import annotations

import asyncio
from typing import Protocol

from smartmob.kernel.runtime.events import EventBus
from smartmob.metrics.events import VerdictsOutdated

_MOST_PAIRS = 1_000
"""The maximum number of pairs in one event; a batch that changed more pairs invalidates all verdicts."""


class Verdicts(Protocol):
    """The cached verdicts, of which new data makes some invalid."""

    def invalidate(self, session_h: str, context_h: str) -> None:
        """Drop the verdicts that depend on a session or on a context."""

    def invalidate_all(self) -> None:
        """Drop all verdicts."""


class OutdatedVerdicts:
    """Implements `Verdicts` with events: one for all data that was stored in one turn of the event loop."""

    def __init__(self, bus: EventBus) -> None:
        self._bus = bus
        self._pairs: set[tuple[str, str]] = set()
        self._all = False
        self._planned = False

    def invalidate(self, session_h: str, context_h: str) -> None:
        """Publish soon that the verdicts of a session or of a context may have changed."""
        self._pairs.add((session_h, context_h))
        self._plan()

    def invalidate_all(self) -> None:
        """Publish soon that all verdicts may have changed."""
        self._all = True
        self._plan()

    def _plan(self) -> None:
        if not self._planned:
            self._planned = True
            asyncio.get_running_loop().call_soon(self._flush)

    def _flush(self) -> None:
        pairs = [] if self._all or len(self._pairs) > _MOST_PAIRS else sorted(self._pairs)
        self._pairs.clear()
        self._all = self._planned = False
        self._bus.publish(VerdictsOutdated(pairs))


def apply(verdicts: Verdicts, event: VerdictsOutdated) -> None:
    """Drop the verdicts that an event names."""
    for session_h, context_h in event.pairs:
        verdicts.invalidate(session_h, context_h)
    if not event.pairs:
        verdicts.invalidate_all()
