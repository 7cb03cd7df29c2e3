"""What is committed together."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import uuid4

from smartmob.turrets.batch import Batch, BatchNumbers, HealthRow, SliceRow
from smartmob.turrets.protocol import Result
from smartmob.turrets.rows import Columns
from tests.turrets.copied import rows_of
from tests.turrets.messages import slice_of

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC).timestamp()


def _columns(moments: list[float]) -> Columns:
    return Columns.of([Result(elapsed=1, epoch=moment, scriptrun_time=1) for moment in moments])


def test_numbers_only_grow() -> None:
    """Also when the clock is set back, and for many in the same millisecond."""
    numbers = BatchNumbers()
    given = [numbers.next(moment) for moment in (1000.0, 1000.0, 500.0, 1000.0, 2000.0)]
    assert given == sorted(set(given))
    assert BatchNumbers().next(2001.0) > given[-1]


def test_an_empty_batch() -> None:
    """It needs no commit."""
    batch = Batch(uuid4(), MIDNIGHT)
    assert not batch
    assert batch.days() == set()


def test_the_days_of_all_rows() -> None:
    """A run over midnight needs the partitions of both days, for each kind of row."""
    today, tomorrow = date(2026, 11, 23), date(2026, 11, 24)
    batch = Batch(uuid4(), MIDNIGHT - 10, number=1)
    batch.add(_columns([MIDNIGHT - 0.5]))
    assert batch.days() == {today}
    batch.add(_columns([MIDNIGHT]))
    assert batch.days() == {today, tomorrow}
    batch = Batch(uuid4(), MIDNIGHT - 10)
    batch.slices = [SliceRow("", slice_of(9, [0.1])), SliceRow("", slice_of(10, [0.1]))]
    assert batch.days() == {today, tomorrow}
    batch.slices = []
    batch.health = [HealthRow(datetime(2026, 11, 23, 5, tzinfo=UTC), "u", 1, 0.1, 0.1, 0.0, 1, 0)]
    assert batch.days() == {today}


def test_results_of_several_times() -> None:
    """They are numbered in the order in which they were added."""
    batch = Batch(uuid4(), MIDNIGHT, number=3)
    batch.add(_columns([MIDNIGHT + 2] * 30))
    batch.add(_columns([MIDNIGHT + 1]))
    assert (batch.rows, bool(batch)) == (31, True)
    rows = rows_of(batch)
    assert [(row.batch, row.seq) for row in rows] == [(3, place) for place in range(31)]
    assert rows[-1].moment == MIDNIGHT + 1
