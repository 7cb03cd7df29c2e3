"""Bounds on how many connections may be open that go on as long as their clients like: overall and by address."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from smartmob.errors import Unavailable
from smartmob.kernel.auth.unproved import network

_RETRY_SECONDS = 10.0


class ConnectionLimit:
    """At most `most` connections of one kind at the same time, and `most_by_address` of one address."""

    def __init__(self, kind: str, most: int, most_by_address: int) -> None:
        """`kind` is what error messages call these clients, in the plural."""
        self._kind = kind
        self._most = most
        self._most_by_address = most_by_address
        self._taken: Counter[str] = Counter()

    def __len__(self) -> int:
        return self._taken.total()

    @contextmanager
    def place(self, address: str | None) -> Iterator[None]:
        """Take a place as long as the context lasts; raises Unavailable when there is none."""
        here = network(address)
        if len(self) >= self._most:
            raise Unavailable(f"{self._most} {self._kind} are connected already", retry_after=_RETRY_SECONDS)
        if self._taken[here] >= self._most_by_address:
            raise Unavailable(
                f"{self._most_by_address} {self._kind} are connected from this address already",
                retry_after=_RETRY_SECONDS,
            )
        self._taken[here] += 1
        try:
            yield
        finally:
            self._taken[here] -= 1
            if not self._taken[here]:
                del self._taken[here]
