"""The rows of a run that wait for their commit, in batches. No I/O."""

from __future__ import annotations

from collections import deque
from uuid import UUID

from smartmob.turrets.hq.batch import Batch, BatchNumbers, HealthRow, SliceRow
from smartmob.turrets.hq.live_seconds import size_of
from smartmob.turrets.hq.rows import Columns

BATCH_ROWS = 20_000
"""The number of rows at which a batch is closed."""
ENOUGH_ROWS = 5_000
"""The number of waiting rows from which they are committed without waiting for more."""
_BYTES_PER_ROW = 100


class PendingRows:
    """The open batch, to which rows are added, and the closed ones, which wait for their commit.

    `weight` estimates the memory of all rows that are not committed; a result without long texts has a weight of 1.
    """

    def __init__(self) -> None:
        self.weight = 0
        self._numbers = BatchNumbers()
        self._open: Batch | None = None
        self._closed: deque[Batch] = deque()

    def begin(self, run: UUID, started: float) -> None:
        """Open a batch for a run that started at `started` (seconds since 1970)."""
        self._open = Batch(run, started)

    def end(self) -> None:
        """Close the batch of the run, and open no further one."""
        self.close_batch()
        self._open = None

    @property
    def batch(self) -> Batch:
        """Return the open batch; there must be a run."""
        assert self._open is not None
        return self._open

    @property
    def has_run(self) -> bool:
        """Return whether a run is active, and therefore a batch is open."""
        return self._open is not None

    def __len__(self) -> int:
        """Return how many rows are in batches that were not handed out."""
        waiting = sum(batch.rows + len(batch.slices) for batch in self._closed)
        if self._open is not None:
            waiting += self._open.rows + len(self._open.slices) + len(self._open.progress)
        return waiting

    @property
    def has_full_batch(self) -> bool:
        """Return whether a batch of full size waits."""
        return bool(self._closed)

    @property
    def has_enough(self) -> bool:
        """Return whether enough rows wait to commit them at once."""
        return self.has_full_batch or (self._open is not None and self._open.rows >= ENOUGH_ROWS)

    def add_results(self, columns: Columns, owner: str, now: float) -> None:
        """Add single results; `owner` is the uuid of the turret that numbered them, or ""."""
        batch = self.batch
        self._give_number(batch, now)
        batch.transactions += len(columns)
        self.weight += batch.add(columns, owner)
        if batch.rows >= BATCH_ROWS:
            self.close_batch()

    def add_slices(self, rows: list[SliceRow]) -> None:
        """Add the slices of one message of a turret."""
        batch = self.batch
        batch.slices += rows
        self.weight += sum(_weight(row) for row in rows)
        if len(batch.slices) >= BATCH_ROWS:
            self.close_batch()

    def add_health(self, row: HealthRow) -> None:
        """Add the health of a turret."""
        self.weight += 1
        self.batch.health.append(row)

    def close_batch(self) -> None:
        """Close the open batch unless it is empty, and open the next one."""
        batch = self._open
        if batch:
            self._closed.append(batch)
            self._open = Batch(batch.run, batch.started)

    def pop(self, now: float) -> Batch | None:
        """Return the oldest closed batch with its number, or None; `now` is the time in seconds since 1970."""
        if not self._closed:
            return None
        batch = self._closed.popleft()
        self._give_number(batch, now)
        return batch

    def halves(self, batch: Batch, now: float) -> list[Batch]:
        """Return a batch in two halves, or [] when it cannot be divided."""
        return batch.halves(self._numbers, now)

    def only(self, batch: Batch, owners: list[str], now: float) -> Batch:
        """Return the rows of some turrets in a batch as a batch that replaces it."""
        kept = batch.only(owners, self._numbers, now)
        self.weight -= _batch_weight(batch) - _batch_weight(kept)
        return kept

    def committed(self, batch: Batch) -> None:
        """Subtract the weight of a batch that is stored or was given up."""
        self.weight -= _batch_weight(batch)

    def _give_number(self, batch: Batch, now: float) -> None:
        if not batch.number:
            batch.number = self._numbers.next(now)


def _batch_weight(batch: Batch) -> int:
    """Return the weight of the rows of a batch; aggregated slices have none."""
    return batch.weight + len(batch.health) + sum(_weight(row) for row in batch.slices if row.uuid)


def _weight(row: SliceRow) -> int:
    """Return the number of results that take as much memory as a slice."""
    return 1 + size_of(row.slice) // _BYTES_PER_ROW
