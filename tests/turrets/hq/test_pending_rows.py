"""The rows that wait for their commit."""

from __future__ import annotations

from uuid import uuid4

from smartmob.turrets.hq.batch import SliceRow
from smartmob.turrets.hq.pending_rows import BATCH_ROWS, ENOUGH_ROWS, PendingRows
from smartmob.turrets.hq.rows import Columns
from smartmob.turrets.protocol import Result
from tests.turrets.messages import slice_of


def _columns(count: int) -> Columns:
    return Columns.of([Result(elapsed=1, epoch=2.0, scriptrun_time=1) for _ in range(count)])


def _begun() -> PendingRows:
    rows = PendingRows()
    rows.begin(uuid4(), 0.0)
    return rows


def test_a_batch_is_closed_when_it_is_full() -> None:
    """Enough rows are committed at once; a full batch is handed out without waiting for more."""
    rows = _begun()
    rows.add_results(_columns(ENOUGH_ROWS), "", 1.0)
    assert (rows.has_enough, rows.has_full_batch, rows.pop(1.0)) == (True, False, None)
    rows.add_results(_columns(BATCH_ROWS), "", 1.0)
    assert rows.has_full_batch
    batch = rows.pop(1.0)
    assert batch is not None
    assert (batch.rows, batch.transactions, len(rows)) == (ENOUGH_ROWS + BATCH_ROWS,) * 2 + (0,)


def test_the_weight_of_all_rows_is_returned() -> None:
    """Stored rows and rows that were left out before both count."""
    rows = _begun()
    rows.add_slices([SliceRow("good", slice_of(0, [0.1])), SliceRow("bad", slice_of(0, [0.1]))])
    whole = rows.weight
    rows.close_batch()
    batch = rows.pop(1.0)
    assert batch is not None
    kept = rows.only(batch, ["good"], 1.0)
    assert (kept.owners, 0 < rows.weight < whole) == (["good"], True)
    rows.committed(kept)
    assert rows.weight == 0


def test_without_a_run_there_is_no_open_batch() -> None:
    """The rows of a run that ended are still handed out."""
    rows = _begun()
    rows.add_results(_columns(1), "", 1.0)
    rows.end()
    assert not rows.has_run
    assert rows.pop(1.0) is not None
    assert rows.pop(1.0) is None
