"""Shows the newest value to many who watch: whoever is slow misses those before, and nothing piles up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Generic, TypeVar

T = TypeVar("T")


class _Subscriber(Generic[T]):
    """The newest value for one who watches, until that was taken."""

    def __init__(self) -> None:
        self.held: list[T] = []
        self.over = False
        self.news = asyncio.Event()

    def show(self, value: T) -> None:
        if not self.over:
            self.held = [value]
            self.news.set()

    def end(self) -> None:
        self.over = True
        self.news.set()


class Broadcast(Generic[T]):
    """Everybody who watches the same thing. It is false while nobody does."""

    def __init__(self) -> None:
        self._watchers: set[_Subscriber[T]] = set()

    def __len__(self) -> int:
        return len(self._watchers)

    async def watch(self, first: T | None = None) -> AsyncIterator[T]:
        """Yield values from now on until `close`, beginning with `first` if there is one."""
        watcher = _Subscriber[T]()
        if first is not None:
            watcher.show(first)
        self._watchers.add(watcher)
        try:
            while True:
                await watcher.news.wait()
                watcher.news.clear()
                held, watcher.held = watcher.held, []
                for value in held:
                    yield value
                if watcher.over and not watcher.held:
                    return
        finally:
            self._watchers.discard(watcher)

    def show(self, value: T) -> None:
        """Let everybody have a value."""
        for watcher in self._watchers:
            watcher.show(value)

    def close(self) -> None:
        """Let everybody go, once they have the newest value."""
        for watcher in self._watchers:
            watcher.end()
