"""Decides which requests may be answered from a replica of the database, which can be some seconds behind."""

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

    So a client sees its own changes, provided that a replica with a longer delay is not read.
    """

    def __init__(self, seconds: float, steady: Callable[[], float] = clock.steady) -> None:
        self._seconds = seconds
        self._steady = steady
        self._changed: dict[str, float] = {}

    def begin(self, method: str, client: str | None, *, websocket: bool = False) -> None:
        """Begin a request in the present context; `client` is the address from which it comes."""
        address = client or ""
        now = self._steady()
        if method not in _READING:
            self._changed.pop(address, None)
            self._changed[address] = now
            if len(self._changed) > _MOST_CLIENTS:
                # The first client is the one with the oldest change.
                del self._changed[next(iter(self._changed))]
            ALLOWED.set(False)
            return
        changed = self._changed.get(address)
        ALLOWED.set(not websocket and (changed is None or now - changed > self._seconds))
