"""Identifiers that the service makes itself: UUID version 7 (RFC 9562), which sort by the time they were made."""

from __future__ import annotations

import secrets
from uuid import UUID

from smartmob.kernel.runtime import clock

_COUNTER_BITS = 12


class _Sequence:
    def __init__(self) -> None:
        self._last = 0

    def next(self, milliseconds: int) -> int:
        """Return time and counter as one number that is larger than the one before, whatever the clock does."""
        self._last = max(self._last + 1, milliseconds << _COUNTER_BITS)
        return self._last


_sequence = _Sequence()


def uuid7() -> UUID:
    """Return a new id; those of one process are strictly ascending."""
    number = _sequence.next(int(clock.epoch() * 1000))
    milliseconds, counter = number >> _COUNTER_BITS, number & ((1 << _COUNTER_BITS) - 1)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | secrets.randbits(62))
