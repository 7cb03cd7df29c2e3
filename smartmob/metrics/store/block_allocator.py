"""Positions of metrics in the order of their arrival."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

_BLOCK_METRICS = 4096  # metrics after which a new block is opened


_BLOCK_AGE = timedelta(minutes=10)


_BLOCK_EPOCH_MS = 1_577_836_800_000  # 2020-01-01


_BLOCK_RANDOM_BITS = 22


class BlockNumbers:
    """The numbers of the blocks of one service, in ascending order.

    A number is the time at which the block was opened, in milliseconds since 2020, followed by random bits that keep
    the blocks of two services apart.
    """

    def __init__(self) -> None:
        self._last = 0

    def next(self, now: datetime) -> int:
        """Return a number above all earlier ones, also within a millisecond and when the clock was set back."""
        fresh = first_block(now) | secrets.randbits(_BLOCK_RANDOM_BITS)
        self._last = max(fresh, self._last + 1)
        return self._last


class BlockAllocator:
    """Allocates positions in the order of arrival: a block and a number within it."""

    def __init__(self, numbers: BlockNumbers) -> None:
        self.block = 0
        self._numbers = numbers
        self._used = 0
        self._opened: datetime | None = None

    def take(self, rows: int, now: datetime) -> tuple[int, int]:
        """Return the block, and the first number in it, for the next `rows` metrics."""
        if self._opened is None or self._used >= _BLOCK_METRICS or now - self._opened > _BLOCK_AGE:
            self.block = self._numbers.next(now)
            self._used = 0
            self._opened = now
        position = self.block, self._used
        self._used += rows
        return position

    def close(self) -> None:
        """Let the next call of `take` open a new block."""
        self._opened = None


def first_block(moment: datetime) -> int:
    """Return the lowest number that a block has if it was opened at `moment` or later."""
    return (int(moment.timestamp() * 1000) - _BLOCK_EPOCH_MS) << _BLOCK_RANDOM_BITS
