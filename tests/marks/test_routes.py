"""Notes on the timeline, over HTTP."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.each import each

BASE = datetime(2026, 11, 23, 9, tzinfo=UTC)


async def _add(client: Any, text: str, **more: Any) -> dict[str, Any]:
    async with client.post("/marks", json={"text": text, **more}) as response:
        mark: dict[str, Any] = await response.json()
        assert response.status == 201, mark
        assert response.headers["Location"] == f"/marks/{mark['id']}"
        return mark


async def _texts(client: Any, **query: Any) -> list[str]:
    async with client.get("/marks", params=query) as response:
        assert response.status == 200
        return [mark["text"] for mark in (await response.json())["marks"]]


async def test_a_mark_without_a_time_is_of_now(client: Any) -> None:
    """A mark without a time has that of its arrival, and is listed among those of the last day."""
    mark = await _add(client, " deployed 1.2 ", author="ann@rack7")
    assert (mark["text"], mark["author"], mark["at"]) == ("deployed 1.2", "ann@rack7", mark["made_at"])
    assert await _texts(client) == ["deployed 1.2"]
    async with client.get(f"/marks/{mark['id']}") as response:
        assert await response.json() == mark


@pytest.mark.parametrize("at", [BASE.timestamp(), str(BASE.timestamp()), "2026-11-23T10:00:00+01:00"])
async def test_a_mark_takes_a_time_in_each_format(client: Any, at: Any) -> None:
    """The time may be seconds since 1970, as a number or a text, or ISO 8601."""
    mark = await _add(client, "earlier", at=at)
    assert datetime.fromisoformat(mark["at"]) == BASE


async def test_marks_of_a_span_are_listed_by_time_and_page(client: Any) -> None:
    """The order of a listing is that of the times, not that of the arrival."""
    for minute in (3, 1, 2, 0):
        await _add(client, f"minute {minute}", at=(BASE + timedelta(minutes=minute)).isoformat())
    span = {"from": BASE.isoformat(), "to": (BASE + timedelta(minutes=3)).isoformat()}
    assert await _texts(client, **span) == ["minute 0", "minute 1", "minute 2"]
    async with client.get("/marks", params={**span, "limit": 2}) as response:
        page = await response.json()
    assert [mark["text"] for mark in page["marks"]] == ["minute 0", "minute 1"]
    assert await _texts(client, **span, limit=2, after=page["next"]) == ["minute 2"]


async def test_a_mark_is_deleted_once(client: Any) -> None:
    """A deleted mark is not found, and a second deletion answers 404."""
    mark = await _add(client, "wrong")
    assert (await client.delete(f"/marks/{mark['id']}")).status == 204
    assert await _texts(client) == []
    for method in (client.get, client.delete):
        assert (await method(f"/marks/{mark['id']}")).status == 404


@each(
    "body, where",
    [
        ({}, "text"),
        ({"text": ""}, "text"),
        ({"text": "  "}, "text"),
        ({"text": "x" * 2001}, "text"),
        ({"text": "two\nlines"}, "text"),
        ({"text": "nul\0"}, "text"),
        ({"text": 5}, "text"),
        ({"text": "x", "at": "yesterday"}, "at"),
        ({"text": "x", "at": "2026-11-23T10:00:00"}, "at"),
        ({"text": "x", "at": 1e300}, "at"),
        ({"text": "x", "at": [1]}, "at"),
        ({"text": "x", "author": "\x1b[2J"}, "author"),
        ({"text": "x", "author": "x" * 201}, "author"),
        ([], ""),
    ],
)
async def test_an_invalid_mark_is_refused_by_the_name_of_its_field(client: Any, body: Any, where: str) -> None:
    """The answer is 400, and nothing is stored."""
    async with client.post("/marks", json=body) as response:
        assert response.status == 400
        assert where in (await response.json())["detail"]
    assert await _texts(client, **{"from": "0"}) == []


@each(
    "query",
    [{"from": "x"}, {"to": "2026-01-01"}, {"from": "5", "to": "5"}, {"limit": "0"}, {"after": "x"}, {"to": "-1e12"}],
)
async def test_an_invalid_query_is_refused(client: Any, query: dict[str, str]) -> None:
    """A query with an invalid span, limit or cursor answers 400."""
    assert (await client.get("/marks", params=query)).status == 400


async def test_an_invalid_id_is_refused(client: Any) -> None:
    """A text that cannot be the id of a mark answers 400."""
    assert (await client.get("/marks/latest")).status == 400
    assert (await client.delete("/marks/latest")).status == 400


async def test_a_span_at_the_beginning_of_the_calendar_is_answered(client: Any) -> None:
    """A span that ends in the first day of the calendar has no day before it, and causes no error."""
    assert (await client.get("/marks", params={"to": "0001-01-01T00:00:10+00:00"})).status == 200
