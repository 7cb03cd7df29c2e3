"""The table of the marks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import Submission
from smartmob.kernel.runtime import ids
from smartmob.marks.model import Mark
from smartmob.marks.store import MarkStore

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def _mark(seconds: float, text: str = "note") -> Mark:
    return Mark(id=ids.uuid7(), at=NOW + timedelta(seconds=seconds), text=text, author="ann", made_at=NOW)


async def _commit(database: Database, *batches: list[Mark]) -> None:
    submissions: list[Any] = [Submission(batch, None, 0.0) for batch in batches]  # type: ignore[arg-type]
    async with database.acquire() as connection:
        await MarkStore(database).commit(connection, submissions)


async def test_marks_come_back_in_the_order_of_time(database: Database) -> None:
    """A listing has the marks from the start of the span until before its end, and the same marks page by page."""
    marks = [_mark(second) for second in (0, 1, 1, 2)]
    await _commit(database, [marks[3], marks[1]], [marks[0], marks[2]])
    store = MarkStore(database)
    span = (NOW, NOW + timedelta(seconds=2))

    assert await store.marks(*span, None, 10) == marks[:3]
    first = await store.marks(*span, None, 2)
    assert first + await store.marks(*span, (first[-1].at, first[-1].id), 2) == marks[:3]


async def test_a_commit_that_is_repeated_stores_nothing_twice(database: Database) -> None:
    """A commit is repeated when its outcome is not known."""
    mark = _mark(0)
    await _commit(database, [mark])
    await _commit(database, [mark])
    assert await MarkStore(database).marks(NOW, NOW + timedelta(seconds=1), None, 10) == [mark]


async def test_a_deletion_reports_whether_the_mark_existed(database: Database) -> None:
    """The first deletion returns true, the second false."""
    mark = _mark(0)
    await _commit(database, [mark])
    store = MarkStore(database)
    assert await store.mark(mark.id) == mark
    assert await store.delete(mark.id)
    assert not await store.delete(mark.id)
    assert await store.mark(mark.id) is None
