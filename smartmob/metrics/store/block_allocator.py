"""Positions of metrics in the order of their arrival."""

from __future__ import annotations

import secrets
from datetime import datetime, timedelta

_BLOCK_METRICS = 4096  # metrics after which a new block is opened


_BLOCK_AGE = timedelta(minutes=10)


_BLOCK_EPOCH_MS = 1_577_836_800_000  # 2020-01-01


_BLOCK_RANDOM_BITS = 22


class BlockAllocator:
    """Allocates positions in the order of arrival: a block and a number within it.

    The number of a block is the time at which it was opened, in milliseconds since 2020, followed by random bits that
    keep the blocks of two services apart.
    """

    def __init__(self) -> None:
        self.block = 0
        self._used = 0
        self._opened: datetime | None = None

    def take(self, rows: int, now: datetime) -> tuple[int, int]:
        """Return the block, and the first number in it, for the next `rows` metrics."""
        if self._opened is None or self._used >= _BLOCK_METRICS or now - self._opened > _BLOCK_AGE:
            fresh = first_block(now) | secrets.randbits(_BLOCK_RANDOM_BITS)
            # The order of arrival stays correct if the clock is set back.
            self.block = max(fresh, self.block + 1)
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
