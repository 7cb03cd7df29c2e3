"""The tables of the feature: definitions, updates and events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import Submission
from smartmob.kernel.runtime import ids
from smartmob.kernel.services.service_registry import ServiceRegistry
from smartmob.processes.model import Definition, HealthCheck, Limits, ProcessEvent
from smartmob.processes.store import Change, DeleteProcess, ProcessStore, StoredEvent, UpdateProcess
from smartmob.settings import Settings

NOW = datetime(2026, 11, 23, 9, 0, tzinfo=UTC)
WEB = Definition(
    slug="app.web.0", app="app", node="web.0", process_type="web", source_url="http://host/a", env={"A": "ß\"'"},
    grace=1.5, created_at=NOW, request_id="id", restart="on-failure", command="echo ß",
    lease=1.5,
)  # fmt: skip


class Commits:
    """A store, and commits like those of the group-commit writer."""

    def __init__(self, database: Database, service: str = "here") -> None:
        self.database = database
        self.store = ProcessStore(database, ServiceRegistry(database, Settings(service_name=service)))

    async def __call__(self, *batches: list[Change]) -> None:
        submissions: list[Any] = [Submission(batch, None, 0.0) for batch in batches]  # type: ignore[arg-type]
        async with self.database.acquire() as connection:
            await self.store.commit(connection, submissions)


@pytest.fixture(name="write")
def _write(database: Database) -> Commits:
    return Commits(database)


async def test_a_definition_is_read_as_it_was_written(write: Commits) -> None:
    """Every field is stored."""
    later = msgspec.structs.replace(WEB, slug="app.web.1", created_at=NOW + timedelta(seconds=1), env={}, digest="d")
    await write([later], [WEB])
    assert await write.store.definitions() == [WEB, later]


ODD = "\"'\\ \n\t\x01\x7f\u2028 ü €😀 null {}"
"""A text that needs escapes in JSON."""


async def test_the_checks_limits_and_texts_of_a_definition_are_read_as_they_were_written(write: Commits) -> None:
    """Also texts that need escapes, the ends of time, and numbers that are no decimal fractions."""
    full = Definition(
        slug=ODD, app=ODD, node=ODD, process_type=ODD, source_url=ODD, env={ODD: ODD, "B": ""}, grace=0.1,
        created_at=datetime(1, 1, 1, tzinfo=UTC), request_id=ODD, digest=ODD, wanted=False, restart="never",
        command=ODD, readiness=HealthCheck(command=ODD, timeout=0.3), liveness=HealthCheck(tcp=5),
        depends_on={ODD: "ready"}, completed=True, limits=Limits(memory=1 << 50, cpu=0.1), lease=1 / 3,
    )  # fmt: skip
    last = msgspec.structs.replace(WEB, created_at=datetime(9999, 12, 31, 23, 59, 59, 999999, UTC))
    await write([full, last])
    assert await write.store.definitions() == [full, last]


async def test_the_details_of_an_event_are_read_as_they_were_written(write: Commits) -> None:
    """Also nested ones, large numbers and texts that need escapes."""
    detail = {"text": ODD, ODD: None, "pid": 2**53 + 1, "port": -0.1, "list": [{"a": True}, []]}
    stored = StoredEvent(ids.uuid7(), ProcessEvent(slug=ODD, at=NOW, kind=ODD, detail=detail))
    await write([stored])
    assert await write.store.events(None, None, None, None, 1) == [stored]


async def test_the_last_change_of_a_process_counts(write: Commits) -> None:
    """It does so within a batch and between batches, and to write a change twice has no further effect."""
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
async def test_an_update_changes_only_its_fields(write: Commits, together: bool) -> None:
    """Several updates of a process add up, in one batch or in several."""
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
async def test_a_late_update_has_no_effect(write: Commits, together: bool) -> None:
    """It neither restores a deleted process nor changes its successor of the same name."""
    late = UpdateProcess(WEB.slug, NOW, digest="late", wanted=False)
    again = msgspec.structs.replace(WEB, created_at=NOW + timedelta(seconds=1))
    changes: list[Change] = [WEB, DeleteProcess(WEB.slug), late]
    for each in [changes] if together else [[change] for change in changes]:
        await write(each)
    assert await write.store.definitions() == []
    for each in [[again, late]] if together else [[again], [late]]:
        await write(each)
    assert await write.store.definitions() == [again]


async def test_events_are_stored_once_and_found_by_process_time_and_key(write: Commits) -> None:
    """They are in order of time."""
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
