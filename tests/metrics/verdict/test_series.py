"""The time series of a test, over HTTP."""

from __future__ import annotations

import uuid
from typing import Any

from tests.metrics.suites import compare, describe, get, send


async def test_a_series_has_executions_and_changes_of_environment(client: Any) -> None:
    """The latest executions come oldest first; a test in another component is the same test."""
    await describe(client)
    await describe(client, "d" * 32, cpu_frequency=1.0)
    await describe(client, "e" * 32, python_info="3.14.0")
    for hour, context_h in enumerate("ccde"):
        measures = {"component": "moved"} if hour == 1 else {}
        await send(client, f"s{hour}", hour, context_h=context_h * 32, measures=measures)
    await send(client, "s4", 4, context_h="f" * 32)
    found = await compare(client, "s0", "s1")
    item_id = found["items"][0]["item_id"]

    series = await get(client, f"/api/v1/items/{item_id}/series", limit="4")

    assert [point["session_h"] for point in series["points"]] == ["s1", "s2", "s3", "s4"]
    assert series["item"] == found["items"][0]["item"]
    assert [(change["started_at"], change["what"]) for change in series["changes"]] == [
        ("2026-11-01T15:00:00Z", "python_info '3.11.7' became '3.14.0'"),
        ("2026-11-01T16:00:00Z", "an unknown context"),
    ]
    assert series["points"][0] | {"scm_ref": "of-s1", "cpu_usage": 0.5, "mem_usage": 1.0} == series["points"][0]


async def test_an_unknown_test_is_not_found(client: Any) -> None:
    """An unknown id answers 404, and a text that is no id answers 400."""
    await get(client, f"/items/{uuid.uuid4()}/series", 404)
    assert (await get(client, "/items/test_sum/series", 400))["errors"][0]["where"] == "id"
