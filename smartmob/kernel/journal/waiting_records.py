"""The records of a node that its service has not stored yet, numbered in their order. No I/O."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

import msgspec

MAX_RECORDS = 20_000  # records
MAX_BYTES = 8 * 1024 * 1024
"""Limits of the waiting records, which are also in memory: a restart of a program makes four of them, 1 KiB in all."""


class Outgoing(msgspec.Struct, frozen=True):
    """A record on its way: its number, its kind, and its value as JSON."""

    number: int
    kind: str
    value: msgspec.Raw


class OutboxState(msgspec.Struct, frozen=True):
    """The part of an outbox that is not in its records: the number of the next one, and how many were dropped."""

    next: int = 1
    dropped: int = 0


class Outbox:
    """The waiting records, oldest first. When there are too many, the oldest are dropped and counted."""

    def __init__(self, max_records: int = MAX_RECORDS, max_bytes: int = MAX_BYTES) -> None:
        self.next = 1
        self.dropped = 0
        self._max_records = max_records
        self._max_bytes = max_bytes
        self._records: deque[Outgoing] = deque()
        self._bytes = 0

    def __len__(self) -> int:
        return len(self._records)

    @property
    def state(self) -> OutboxState:
        """Return what is stored beside the records."""
        return OutboxState(self.next, self.dropped)

    def restore(self, state: OutboxState) -> None:
        """Use a stored state."""
        self.next, self.dropped = state.next, state.dropped

    def add(self, record: Outgoing) -> int:
        """Add a record after the others; return how many were dropped for it."""
        self._records.append(record)
        self._bytes += len(bytes(record.value))
        self.next = max(self.next, record.number + 1)
        before = self.dropped
        while len(self._records) > self._max_records or (self._bytes > self._max_bytes and len(self._records) > 1):
            self._pop()
            self.dropped += 1
        return self.dropped - before

    def delivered(self, number: int) -> None:
        """Remove the records up to this number."""
        while self._records and self._records[0].number <= number:
            self._pop()

    def first(self, max_bytes: int) -> list[Outgoing]:
        """Return the oldest records with at most `max_bytes` of values, but at least one if there are any."""
        found: list[Outgoing] = []
        size = 0
        for record in self._records:
            size += len(bytes(record.value))
            if found and size > max_bytes:
                break
            found.append(record)
        return found

    def all(self) -> Sequence[Outgoing]:
        """Return all records."""
        return tuple(self._records)

    def _pop(self) -> None:
        self._bytes -= len(bytes(self._records.popleft().value))
