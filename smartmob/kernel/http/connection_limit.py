"""Limits on the number of open long-lived connections: in total and for each client address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from smartmob.errors import Unavailable
from smartmob.kernel.auth.unauthenticated import network

_RETRY_SECONDS = 10.0


class ConnectionLimit:
    """Allows `total` connections of one kind at the same time, `by_address` of them from one address."""

    def __init__(self, kind: str, total: int, by_address: int) -> None:
        """`kind` is the plural noun for these clients in error messages."""
        self._kind = kind
        self._total = total
        self._by_address = by_address
        self._open: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._open.total()

    @contextmanager
    def slot(self, address: str | None) -> Iterator[None]:
        """Count one connection while the context lasts; raises Unavailable when the limit is reached."""
        client = network(address)
        if len(self) >= self._total:
            raise Unavailable(f"{self._total} {self._kind} are connected already", retry_after=_RETRY_SECONDS)
        if self._open[client] >= self._by_address:
            raise Unavailable(
                f"{self._by_address} {self._kind} are connected from this address already", retry_after=_RETRY_SECONDS
            )
        self._open[client] += 1
        try:
            yield
        finally:
            self._open[client] -= 1
            if not self._open[client]:
                del self._open[client]
