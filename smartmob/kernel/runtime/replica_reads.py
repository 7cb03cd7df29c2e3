"""Decides which requests may be answered from a replica of the database, which can be behind by some seconds."""

from __future__ import annotations

from collections.abc import Callable
from contextvars import ContextVar

from smartmob.kernel.runtime import clock

ALLOWED: ContextVar[bool] = ContextVar("replica_reads", default=False)
"""True in requests that may be answered from a replica; background work may not."""

_READING = frozenset({"GET", "HEAD"})
_MOST_CLIENTS = 10_000  # some 1 MB


class ReplicaReads:
    """Allows a replica to requests that only read, of clients that have changed nothing within the last `seconds`.

    So a client finds its own changes, as long as a replica that is behind for longer is not read.
    """

    def __init__(self, seconds: float, steady: Callable[[], float] = clock.steady) -> None:
        self._seconds = seconds
        self._steady = steady
        self._changed: dict[str, float] = {}

    def begin(self, method: str, client: str | None, *, websocket: bool = False) -> None:
        """Begin a request, in its context; `client` is the address from which it comes."""
        address = client or ""
        now = self._steady()
        if method not in _READING:
            self._changed.pop(address, None)
            self._changed[address] = now
            if len(self._changed) > _MOST_CLIENTS:
                # The first one has changed nothing for longest.
                del self._changed[next(iter(self._changed))]
            ALLOWED.set(False)
            return
        changed = self._changed.get(address)
        ALLOWED.set(not websocket and (changed is None or now - changed > self._seconds))
