"""Trends over HTTP: one series for each machine and branch, the selection of tests, and fresh answers."""

from __future__ import annotations

from typing import Any

import pytest

from tests.metrics.suites import compare, describe, get, send

SLOW = {"test_3": 0.2}


async def _trends(client: Any, **query: str) -> Any:
    return await get(client, "/api/v1/trends", **query)


async def test_trends_of_machines_and_branches(client: Any) -> None:
    """A step is found with its commit, on the machine and the branch where it happened, and is selected by name."""
    empty = await _trends(client)
    assert (empty["explanation"], empty["places"], empty["trends"]) == ("No run has been measured.", [], [])
    await describe(client)
    await describe(client, "d" * 32, machine_node="rack8")
    for hour in range(16):
        await send(client, f"s{hour:02}", hour, SLOW if hour >= 11 else {})
        if hour < 8:
            await send(client, f"o{hour:02}", hour, context_h="d" * 32)
    for hour in range(4):
        # A feature branch on the same machine, which is slow in everything.
        await send(client, f"b{hour:02}", hour + 4.5, dict.fromkeys(SLOW, 0.9), tags={"pipeline_branch": "slow"})
    found = await _trends(client)
    assert [(place["machine_node"], place["branch"], place["runs"]) for place in found["places"]] == [
        ("rack7", None, 16),
        ("rack8", None, 8),
    ]
    (trend,) = found["trends"]
    assert (trend["variant"], trend["change"], trend["direction"], trend["still"]) == ("test_3", "step", "more", True)
    assert (trend["run"], trend["scm_ref"], trend["previous_ref"]) == ("s11", "of-s11", "of-s10")
    assert (trend["before"], trend["after"]) == pytest.approx((0.1, 0.2), rel=0.05)
    assert found["explanation"] == "1 test changed its level; 1 of them is slower or larger now."

    row = (await compare(client, "s10", "s15"))["items"][0]
    assert row["item_id"] == trend["item_id"]
    assert len((await _trends(client, item=trend["item_id"]))["trends"]) == 1
    assert (await _trends(client, item="no id"))["trends"] == []
    assert len((await _trends(client, name="test_3"))["trends"]) == 1
    assert (await _trends(client, name="test_4"))["trends"] == []
    assert (await _trends(client, since="2026-11-01T22:00:00Z"))["trends"] == []
    assert [place["runs"] for place in (await _trends(client, branch="slow"))["places"]] == [4]
    assert (await _trends(client, min_effect="1.5"))["trends"] == []

    # Further runs at the old level: the answer is computed again.
    for hour in range(16, 24):
        await send(client, f"s{hour:02}", hour)
    fresh = await _trends(client)
    assert [(one["direction"], one["still"]) for one in fresh["trends"]] == [("less", True), ("more", False)]
    assert (await _trends(client, limit="1"))["found"] == 2


async def test_wrong_arguments_are_refused(client: Any) -> None:
    """A time without a zone, at the ends of the calendar, or an unknown resource is refused with its name."""
    for query in ({"since": "2026-11-01T00:00:00"}, {"since": "0001-01-01T00:00:00Z"}, {"resource": "luck"}):
        answer = await get(client, "/api/v1/trends", status=400, **query)
        assert next(iter(query)) in str(answer)
