"""The tables of the feature, and the last word on each process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import Submission
from smartmob.kernel.runtime import ids
from smartmob.processes.model import Definition, ProcessEvent
from smartmob.processes.store import Change, DeleteProcess, ProcessStore, StoredEvent, UpdateProcess
from smartmob.settings import DatabaseSettings

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
WEB = Definition(
    slug="app.web.0", app="app", node="web.0", process_type="web", source_url="http://host/a", env={"A": "ß\"'"},
    grace=1.5, created_at=NOW, request_id="id",
)  # fmt: skip


@pytest.fixture(name="database")
async def _database(database_url: str) -> AsyncIterator[Database]:
    database = Database(DatabaseSettings(url=database_url), None)
    await database.open()
    yield database
    await database.close()


class Writing:
    """A store, and commits as the writer makes them."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.store = ProcessStore(database)

    async def __call__(self, *batches: list[Change]) -> None:
        submissions: list[Any] = [Submission(batch, None, 0.0) for batch in batches]  # type: ignore[arg-type]
        async with self.database.acquire() as connection:
            await self.store.commit(connection, submissions)


@pytest.fixture(name="write")
def _write(database: Database) -> Writing:
    return Writing(database)


async def test_a_definition_comes_back_as_it_was(write: Writing) -> None:
    """With every field."""
    later = msgspec.structs.replace(WEB, slug="app.web.1", created_at=NOW + timedelta(seconds=1), env={}, digest="d")
    await write([later], [WEB])
    assert await write.store.definitions() == [WEB, later]


async def test_the_last_word_counts(write: Writing) -> None:
    """Within a batch and after it, and to say it twice does no harm."""
    changed = msgspec.structs.replace(
        WEB, app="b", node="c", process_type="d", source_url="e", env={}, grace=9.0, request_id="f", digest="new",
        created_at=NOW + timedelta(seconds=1), wanted=False,
    )  # fmt: skip
    await write([WEB], [changed])
    await write([WEB])
    assert await write.store.definitions() == [WEB]
    await write([changed])
    assert await write.store.definitions() == [changed]
    await write([DeleteProcess(WEB.slug)], [WEB])
    assert await write.store.definitions() == [WEB]
    await write([DeleteProcess(WEB.slug), DeleteProcess("unknown")])
    assert await write.store.definitions() == []


@pytest.mark.parametrize("together", [True, False])
async def test_what_has_changed_of_a_process(write: Writing, together: bool) -> None:
    """Each change says what it is about, and leaves the rest as it is."""
    changes: list[Change] = [WEB, UpdateProcess(WEB.slug, NOW, digest="d"), UpdateProcess(WEB.slug, NOW, wanted=False)]
    for each in [changes] if together else [[change] for change in changes]:
        await write(each)
    assert await write.store.definitions() == [msgspec.structs.replace(WEB, digest="d", wanted=False)]
    changes = [
        UpdateProcess(WEB.slug, NOW, wanted=True),
        UpdateProcess(WEB.slug, NOW, digest="e"),
        UpdateProcess(WEB.slug, NOW, digest="f"),
    ]
    for each in [changes] if together else [[change] for change in changes]:
        await write(each)
    assert await write.store.definitions() == [msgspec.structs.replace(WEB, digest="f")]


@pytest.mark.parametrize("together", [True, False])
async def test_a_change_that_comes_too_late(write: Writing, together: bool) -> None:
    """It does not bring a deleted process back, nor change the next one of that name."""
    late = UpdateProcess(WEB.slug, NOW, digest="late", wanted=False)
    again = msgspec.structs.replace(WEB, created_at=NOW + timedelta(seconds=1))
    changes: list[Change] = [WEB, DeleteProcess(WEB.slug), late]
    for each in [changes] if together else [[change] for change in changes]:
        await write(each)
    assert await write.store.definitions() == []
    for each in [[again, late]] if together else [[again], [late]]:
        await write(each)
    assert await write.store.definitions() == [again]


async def test_events_are_kept_once_and_found(write: Writing) -> None:
    """By process and by time, behind a key, in order."""
    kept = [
        StoredEvent(
            ids.uuid7(),
            ProcessEvent(slug=f"app.{n % 2}", at=NOW + timedelta(seconds=n), kind="started", detail={"n": n}),
        )
        for n in range(10)
    ]
    await write(list(kept[:6]), list(kept[4:]))
    find = write.store.events
    assert await find(None, None, None, None, 100) == kept
    assert await find("app.1", None, None, None, 100) == kept[1::2]
    assert await find(None, NOW + timedelta(seconds=3), NOW + timedelta(seconds=5), None, 100) == kept[3:5]
    assert await find(None, None, None, (kept[2].event.at, kept[2].id), 3) == kept[3:6]
    await write.store.expire(NOW + timedelta(seconds=8))
    assert await find(None, None, None, None, 100) == kept[8:]
