"""The processes of a node in its journal: they change as they do in the tables."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import msgspec
import pytest

from smartmob.kernel.runtime import ids
from smartmob.processes.model import HealthCheck, ProcessEvent
from smartmob.processes.process_changes import Change, DeleteProcess, StoredEvent, UpdateProcess
from smartmob.processes.process_journal import ProcessJournal, encode
from tests.processes.test_store import NOW, WEB

FULL = msgspec.structs.replace(
    WEB, slug="app.web.1", readiness=HealthCheck(http="/"), depends_on={"web": "ready"}, env={"A": "ß\"'\n"},
    created_at=NOW + timedelta(microseconds=1), digest="d",
)  # fmt: skip


def _written(journal: ProcessJournal, *changes: Change) -> ProcessJournal:
    for change in changes:
        kind, value = encode(change)
        journal.apply(kind, msgspec.Raw(msgspec.json.encode(value)))
    return journal


def _copied(journal: ProcessJournal) -> ProcessJournal:
    copy = ProcessJournal()
    for kind, value in journal.entries():
        copy.apply(kind, msgspec.Raw(msgspec.json.encode(value)))
    return copy


async def test_definitions_are_read_as_they_were_written() -> None:
    """In the order of their creation, and after the file was written anew, too."""
    journal = _written(ProcessJournal(), FULL, WEB)
    assert await journal.definitions() == [WEB, FULL]
    assert await _copied(journal).definitions() == [WEB, FULL]
    assert await journal.unrestored() == []


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ((UpdateProcess(WEB.slug, WEB.created_at, wanted=False),), {"wanted": False}),
        ((UpdateProcess(WEB.slug, WEB.created_at, digest="e", completed=True),), {"digest": "e", "completed": True}),
        ((UpdateProcess(WEB.slug, NOW - timedelta(1), wanted=False),), {}),
        ((UpdateProcess("other", WEB.created_at, wanted=False),), {}),
    ],
)
async def test_an_update_changes_the_definition_that_it_was_made_for(changes: Any, expected: Any) -> None:
    """One of an earlier definition with the same name has no effect."""
    journal = _written(ProcessJournal(), WEB, *changes)
    assert await journal.definitions() == [msgspec.structs.replace(WEB, **expected)]


async def test_a_deleted_process_is_gone() -> None:
    """To delete it twice has no further effect."""
    assert await _written(ProcessJournal(), WEB, DeleteProcess(WEB.slug), DeleteProcess(WEB.slug)).definitions() == []


async def test_events_are_paged_and_expire() -> None:
    """By process, span and key, as in the tables."""
    events = [
        StoredEvent(ids.uuid7(), ProcessEvent(slug=f"app.web.{n % 2}", at=NOW + timedelta(seconds=n), kind="started"))
        for n in range(6)
    ]
    journal = _copied(_written(ProcessJournal(), *reversed(events)))
    assert await journal.events(None, None, None, None, 10) == events
    assert await journal.events("app.web.1", None, None, None, 10) == events[1::2]
    since, until = NOW + timedelta(seconds=1), NOW + timedelta(seconds=4)
    assert await journal.events(None, since, until, None, 10) == events[1:4]
    key = (events[2].event.at, events[2].id)
    assert await journal.events(None, None, None, key, 2) == events[3:5]
    await journal.expire(NOW + timedelta(seconds=4))
    assert await journal.events(None, None, None, None, 10) == events[4:]
