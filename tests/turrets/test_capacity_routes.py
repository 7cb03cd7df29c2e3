"""The routes of capacity searches, with a real service and database."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.turrets.capacity_searches import search_document
from tests.turrets.runs import get

pytestmark = pytest.mark.timeout(900)


async def _send(client: Any, method: str, path: str, document: Any, status: int) -> Any:
    async with client.request(method, path, json=document) as response:
        body = await response.read()
        assert response.status == status, body
    return json.loads(body) if body else None


async def test_a_search_is_stored_replaced_listed_shown_and_removed(lab: Any) -> None:
    """It comes back as it was sent, with its id, times and the address of its report."""
    document = json.loads(json.dumps(search_document()))
    first = await _send(lab, "POST", "/capacity-searches", document | {"steps": [], "result": None}, 201)
    path = f"/capacity-searches/{first['id']}"
    assert (first["steps"], first["result"], first["report"]) == ([], None, f"{path}/report")
    second = await _send(lab, "PUT", path, document, 200)
    assert {key: second[key] for key in document} == document
    assert second["created_at"] == first["created_at"] <= second["changed_at"]
    assert await get(lab, path) == second
    (listed,) = (await get(lab, "/capacity-searches"))["searches"]
    assert listed == second | {"steps": []}
    for name, kind in (("report", "text/html"), ("chart", "image/svg+xml")):
        async with lab.get(f"{path}/{name}") as response:
            assert (response.status, response.content_type) == (200, kind)
            assert "default-src 'none'" in response.headers["Content-Security-Policy"]
            assert "20/s" in await response.text()
    await _send(lab, "DELETE", path, None, 204)
    for address in (path, f"{path}/report", f"{path}/chart", "/capacity-searches/none"):
        await get(lab, address, 404)
    await _send(lab, "PUT", path, document, 404)
    await _send(lab, "DELETE", path, None, 404)


async def test_a_wrong_search_is_not_stored(lab: Any) -> None:
    """The answer names the bad field."""
    document = search_document()
    document["settings"]["growth"] = 0
    answer = await _send(lab, "POST", "/capacity-searches", document, 400)
    assert "$.settings.growth" in json.dumps(answer)
    await get(lab, "/capacity-searches?limit=0", 400)
    assert (await get(lab, "/capacity-searches"))["searches"] == []
