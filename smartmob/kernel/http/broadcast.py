"""Sends the newest value to all subscribers. A slow subscriber skips values, so memory stays bounded."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _Subscriber(Generic[T]):
    """The newest value for one subscriber, until it takes the value."""

    def __init__(self) -> None:
        self.pending: list[T] = []
        """Empty, or the newest value alone."""
        self.closed = False
        self.changed = asyncio.Event()

    def publish(self, value: T) -> None:
        if not self.closed:
            self.pending = [value]
            self.changed.set()

    def close(self) -> None:
        self.closed = True
        self.changed.set()


class Broadcast(Generic[T]):
    """The subscribers of one source of values. Its truth value is False while it has no subscribers."""

    def __init__(self) -> None:
        self._subscribers: set[_Subscriber[T]] = set()

    def __len__(self) -> int:
        return len(self._subscribers)

    async def subscribe(self, first: T | None = None) -> AsyncIterator[T]:
        """Yield `first`, if there is one, and then each published value that is read before it is replaced."""
        subscriber = _Subscriber[T]()
        if first is not None:
            subscriber.publish(first)
        self._subscribers.add(subscriber)
        try:
            while True:
                await subscriber.changed.wait()
                subscriber.changed.clear()
                pending, subscriber.pending = subscriber.pending, []
                for value in pending:
                    yield value
                if subscriber.closed and not subscriber.pending:
                    return
        finally:
            self._subscribers.discard(subscriber)

    def publish(self, value: T) -> None:
        """Send a value to all subscribers; it replaces an older one that a subscriber has not taken yet."""
        for subscriber in self._subscribers:
            subscriber.publish(value)

    def close(self) -> None:
        """End all subscriptions; each subscriber still gets the newest value."""
        for subscriber in self._subscribers:
            subscriber.close()
