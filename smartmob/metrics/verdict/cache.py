"""Remembers verdicts on runs until something is stored that could change them. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Set
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

_MOST = 256
_ALL = ""


@dataclass(frozen=True, slots=True)
class _Entry(Generic[T]):
    value: T
    until: float
    sessions: Set[str]
    contexts: Set[str]


class VerdictCache(Generic[T]):
    """Values by key, the `most` that were last asked for.

    A value depends on sessions, and one that waits for the next session of its contexts depends on those too. What
    another service stores in the same database is not seen here, so each value has an end as well.
    """

    def __init__(self, most: int = _MOST) -> None:
        self._most = most
        self._entries: OrderedDict[object, _Entry[T]] = OrderedDict()
        self._by_session: dict[str, set[object]] = {}
        self._by_context: dict[str, set[object]] = {}
        self._watches: list[set[str]] = []

    def get(self, key: object, now: float) -> T | None:
        """Return a value that is remembered and young enough."""
        entry = self._entries.get(key)
        if entry is None or entry.until < now:
            return None
        self._entries.move_to_end(key)
        return entry.value

    @contextmanager
    def watch(self) -> Iterator[set[str]]:
        """Give the set of the sessions and contexts that change until the end of the block, for `put`."""
        changed: set[str] = set()
        self._watches.append(changed)
        try:
            yield changed
        finally:
            self._watches = [other for other in self._watches if other is not changed]

    def put(
        self, key: object, value: T, until: float, changed: Set[str], sessions: Set[str], contexts: Set[str]
    ) -> None:
        """Remember a value, unless something has changed meanwhile; with `contexts` until the next metric of one."""
        if _ALL in changed or changed & (sessions | contexts):
            return
        self._drop(key)
        entry = _Entry(value, until, sessions, contexts)
        self._entries[key] = entry
        for index, names in ((self._by_session, sessions), (self._by_context, contexts)):
            for name in names:
                index.setdefault(name, set()).add(key)
        if len(self._entries) > self._most:
            self._drop(next(iter(self._entries)))

    def forget(self, session_h: str, context_h: str) -> None:
        """Forget what depends on a session, and what waits for a session of a context."""
        # Called for each metric that arrives, hence nothing more than it takes.
        for changed in self._watches:
            changed.update((session_h, context_h))
        for index, name in ((self._by_session, session_h), (self._by_context, context_h)):
            if name in index:
                for key in tuple(index[name]):
                    self._drop(key)

    def clear(self) -> None:
        """Forget everything."""
        for changed in self._watches:
            changed.add(_ALL)
        self._entries.clear()
        self._by_session.clear()
        self._by_context.clear()

    def _drop(self, key: object) -> None:
        entry = self._entries.pop(key, None)
        if entry is None:
            return
        for index, names in ((self._by_session, entry.sessions), (self._by_context, entry.contexts)):
            for name in names:
                keys = index[name]
                keys.discard(key)
                if not keys:
                    del index[name]
