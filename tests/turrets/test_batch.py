"""What is committed together, and the bytes in which results go to the database."""

from __future__ import annotations

from datetime import UTC, date, datetime
from uuid import uuid4

from smartmob.turrets.batch import Batch, BatchNumbers, HealthRow, SliceRow, encode_results, text
from smartmob.turrets.protocol import Result
from tests.turrets.messages import slice_of

MIDNIGHT = datetime(2026, 11, 24, tzinfo=UTC).timestamp()


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
    batch = Batch(uuid4(), MIDNIGHT - 10)
    batch.results = [Result(elapsed=1, epoch=1, scriptrun_time=1)] * 2
    batch.moments = [MIDNIGHT - 0.5, MIDNIGHT]
    assert batch.days() == {today, tomorrow}
    batch.results, batch.moments = [], []
    batch.slices = [SliceRow("", slice_of(9, [0.1])), SliceRow("", slice_of(10, [0.1]))]
    assert batch.days() == {today, tomorrow}
    batch.slices = []
    batch.health = [HealthRow(datetime(2026, 11, 23, 5, tzinfo=UTC), "u", 1, 0.1, 0.1, 0.0, 1, 0)]
    assert batch.days() == {today}


def test_pieces_are_small() -> None:
    """Ten thousand rows go out in several pieces, with the marks of the format at both ends."""
    batch = Batch(uuid4(), MIDNIGHT)
    batch.results = [Result(elapsed=1, epoch=1, scriptrun_time=1)] * 10_000
    batch.moments = [MIDNIGHT] * 10_000
    pieces = list(encode_results(batch))
    assert pieces[0].startswith(b"PGCOPY\n\xff\r\n\0")
    assert pieces[-1] == b"\xff\xff"
    assert max(map(len, pieces)) < 400_000


def test_the_character_that_cannot_be_stored() -> None:
    """It is shown as the sign for what cannot be shown."""
    assert text("a\0b") == "a\ufffdb"
