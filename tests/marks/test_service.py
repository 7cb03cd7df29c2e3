"""The events that the feature publishes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from smartmob.app import build
from smartmob.marks.events import MarkCreated, MarkDeleted
from smartmob.settings import Settings
from tests.conftest import running


async def test_events_are_published_for_stored_and_deleted_marks(settings: Settings) -> None:
    """An event follows the storing of a mark and its deletion."""
    service = build(replace(settings))
    published: list[Any] = []
    service.bus.subscribe(MarkCreated, published.append)
    service.bus.subscribe(MarkDeleted, published.append)
    async with running(service) as client:
        async with client.post("/marks", json={"text": "new kernel"}) as response:
            mark = await response.json()
        await client.delete(f"/marks/{mark['id']}")
    assert [type(event) for event in published] == [MarkCreated, MarkDeleted]
    assert (str(published[0].mark.id), published[0].mark.text) == (mark["id"], "new kernel")
