"""The interface of a durable store of rows: a database, or the journal on a node."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeVar

import msgspec

from smartmob.kernel.runtime.tasks import TaskRegistry

R_contra = TypeVar("R_contra", contravariant=True)


class WriterStats(msgspec.Struct):
    """The counters of a writer since its start: committed rows and batches, retries, refused submissions.

    `waiting` is the number of rows that are not committed yet.
    """

    rows: int = 0
    batches: int = 0
    retries: int = 0
    refused: int = 0
    waiting: int = 0


class RowWriter(Protocol[R_contra]):
    """Stores rows; `put` returns when they survive a crash."""

    name: str
    stats: WriterStats

    async def start(self, tasks: TaskRegistry) -> None:
        """Start writing."""

    async def close(self) -> None:
        """Accept no more rows, store or refuse the waiting rows, and stop."""

    async def put(self, rows: Sequence[R_contra]) -> None:
        """Store all of the rows or none; raises Unavailable when they cannot be stored now."""
