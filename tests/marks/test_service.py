"""What the feature tells others."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from smartmob.app import build
from smartmob.marks.events import MarkAdded, MarkRemoved
from smartmob.settings import Settings
from tests.conftest import running


async def test_marks_are_told_on_the_bus(settings: Settings) -> None:
    """Once they are stored, and when they are removed."""
    service = build(replace(settings))
    told: list[Any] = []
    service.bus.subscribe(MarkAdded, told.append)
    service.bus.subscribe(MarkRemoved, told.append)
    async with running(service) as client:
        async with client.post("/marks", json={"text": "new kernel"}) as response:
            mark = await response.json()
        await client.delete(f"/marks/{mark['id']}")
    assert [type(event) for event in told] == [MarkAdded, MarkRemoved]
    assert (str(told[0].mark.id), told[0].mark.text) == (mark["id"], "new kernel")
