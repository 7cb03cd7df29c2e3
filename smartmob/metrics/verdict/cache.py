"""A cache of verdicts on runs, whose entries are dropped when something is stored that could change them. No I/O."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Set
from contextlib import contextmanager
from typing import Generic, TypeVar

import msgspec

T = TypeVar("T")

_MAX_ENTRIES = 256  # verdicts; one is some kilobytes
_ANYTHING = ""  # stands for all sessions and contexts; no hash is empty


class _Entry(msgspec.Struct, Generic[T], frozen=True):
    """A cached value; `until` is in the seconds of the caller's clock."""

    value: T
    until: float
    sessions: Set[str]
    contexts: Set[str]


class VerdictCache(Generic[T]):
    """A cache of the `max_entries` values that were last used.

    A value depends on sessions. One that the next session of some contexts can change depends on those too. Another
    service that uses the same database cannot invalidate anything here, so each value also expires.
    """

    def __init__(self, max_entries: int = _MAX_ENTRIES) -> None:
        self._max_entries = max_entries
        self._entries: OrderedDict[object, _Entry[T]] = OrderedDict()
        self._by_session: dict[str, set[object]] = {}
        self._by_context: dict[str, set[object]] = {}
        self._trackers: list[set[str]] = []

    def get(self, key: object, now: float) -> T | None:
        """Return the value of a key, or None if there is none or it has expired."""
        entry = self._entries.get(key)
        if entry is None or entry.until < now:
            return None
        self._entries.move_to_end(key)
        return entry.value

    @contextmanager
    def track_changes(self) -> Iterator[set[str]]:
        """Yield a set that collects the sessions and contexts that change until the end of the block, for `put`."""
        changed: set[str] = set()
        self._trackers.append(changed)
        try:
            yield changed
        finally:
            self._trackers = [other for other in self._trackers if other is not changed]

    def put(
        self, key: object, value: T, until: float, changed: Set[str], sessions: Set[str], contexts: Set[str]
    ) -> None:
        """Store a value that depends on sessions and contexts, unless one of them is in `changed`."""
        if _ANYTHING in changed or changed & (sessions | contexts):
            return
        self._drop(key)
        entry = _Entry(value, until, sessions, contexts)
        self._entries[key] = entry
        for index, names in ((self._by_session, sessions), (self._by_context, contexts)):
            for name in names:
                index.setdefault(name, set()).add(key)
        if len(self._entries) > self._max_entries:
            self._drop(next(iter(self._entries)))

    def invalidate(self, session_h: str, context_h: str) -> None:
        """Drop the values that depend on a session or on a context."""
        # This is called for each metric that arrives, so it has to be fast.
        for changed in self._trackers:
            changed.update((session_h, context_h))
        for index, name in ((self._by_session, session_h), (self._by_context, context_h)):
            if name in index:
                for key in tuple(index[name]):
                    self._drop(key)

    def invalidate_all(self) -> None:
        """Drop all values."""
        for changed in self._trackers:
            changed.add(_ANYTHING)
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
