"""Batches of rows that are committed together."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import uuid4

from smartmob.turrets.hq.batch import Batch, BatchNumbers, HealthRow, SliceRow
from smartmob.turrets.hq.rows import Columns
from smartmob.turrets.protocol import Result
from tests.turrets.copied import rows_of
from tests.turrets.messages import slice_of

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC).timestamp()


def _columns(moments: list[float]) -> Columns:
    return Columns.of([Result(elapsed=1, epoch=moment, scriptrun_time=1) for moment in moments])


def test_numbers_only_grow() -> None:
    """This holds when the clock is set back, and for many numbers in the same millisecond."""
    numbers = BatchNumbers()
    given = [numbers.next(moment) for moment in (1000.0, 1000.0, 500.0, 1000.0, 2000.0)]
    assert given == sorted(set(given))
    assert BatchNumbers().next(2001.0) > given[-1]


def test_an_empty_batch_is_false() -> None:
    """It needs no commit and no partition."""
    batch = Batch(uuid4(), MIDNIGHT)
    assert not batch
    assert batch.days() == set()


def test_a_batch_names_the_days_of_all_its_rows() -> None:
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


def test_results_are_numbered_in_the_order_of_their_addition() -> None:
    """The numbers go on over several additions."""
    batch = Batch(uuid4(), MIDNIGHT, number=3)
    batch.add(_columns([MIDNIGHT + 2] * 30))
    batch.add(_columns([MIDNIGHT + 1]))
    assert (batch.rows, bool(batch)) == (31, True)
    rows = rows_of(batch)
    assert [(row.batch, row.seq) for row in rows] == [(3, place) for place in range(31)]
    assert rows[-1].moment == MIDNIGHT + 1


def _divided(batch: Batch, numbers: BatchNumbers) -> list[Batch]:
    """Return a batch in the smallest parts that it can be divided into."""
    halves = batch.halves(numbers, 1000.0)
    return [part for half in halves for part in _divided(half, numbers)] if halves else [batch]


def test_a_batch_is_divided_by_turrets() -> None:
    """The rows of one turret stay together with its number, and the parts hold together the rows of the whole."""
    numbers = BatchNumbers()
    batch = Batch(uuid4(), MIDNIGHT, numbers.next(1000.0))
    uuids = [f"u{number}" for number in range(5)]
    for place, uuid in enumerate(uuids):
        batch.add(_columns([MIDNIGHT + place] * 2), uuid)
        batch.slices.append(SliceRow(uuid, slice_of(1, [0.1] * 3, errors={"boom": 1})))
        batch.progress[uuid] = place + 1
        batch.health.append(HealthRow(datetime(2026, 11, 23, 5, tzinfo=UTC), uuid, 1, 0.1, 0.1, 0.0, 1, 0))
    parts = _divided(batch, numbers)
    assert sorted(part.owners for part in parts) == [[uuid] for uuid in uuids]
    assert {uuid: number for part in parts for uuid, number in part.progress.items()} == batch.progress
    for part in parts:
        assert (part.rows, len(part.slices), len(part.health), part.transactions, part.errors) == (2, 1, 1, 5, 1)
        assert {row.batch for row in rows_of(part)} == {part.number}
    assert len({part.number for part in [batch, *parts]}) == 1 + len(parts)


def test_results_without_a_turret_are_divided_by_messages() -> None:
    """A refused row costs the rows that came with it, and no others."""
    numbers = BatchNumbers()
    batch = Batch(uuid4(), MIDNIGHT, numbers.next(1000.0))
    for place in range(4):
        batch.add(_columns([MIDNIGHT + place] * 3))
    parts = _divided(batch, numbers)
    assert [part.rows for part in parts] == [3] * 4
    assert [row.moment for part in parts for row in rows_of(part)] == [row.moment for row in rows_of(batch)]
