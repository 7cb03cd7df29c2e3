"""Makes identifiers: UUID version 7 (RFC 9562, section 5.7), which sort by the time at which they were made."""

from __future__ import annotations

import secrets
from uuid import UUID

from smartmob.kernel.runtime import clock

_COUNTER_BITS = 12  # rand_a of the RFC, used as a counter within a millisecond (section 6.2, method 1)


class _Sequence:
    """An ascending sequence of milliseconds with a counter."""

    def __init__(self) -> None:
        self._last = 0

    def next(self, milliseconds: int) -> int:
        """Return time and counter as one number, which is larger than the last one even if the clock was set back."""
        self._last = max(self._last + 1, milliseconds << _COUNTER_BITS)
        return self._last


_sequence = _Sequence()


def uuid7() -> UUID:
    """Return a new id. The ids of one process are strictly ascending."""
    number = _sequence.next(int(clock.epoch() * 1000))
    milliseconds, counter = number >> _COUNTER_BITS, number & ((1 << _COUNTER_BITS) - 1)
    return UUID(int=milliseconds << 80 | 0x7 << 76 | counter << 64 | 0b10 << 62 | secrets.randbits(62))
