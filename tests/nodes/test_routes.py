"""The routes of nodes: who may use them, and what they answer to wrong requests."""

from __future__ import annotations

from typing import Any

from tests.nodes.conftest import AUTHORIZED, Lab


async def _join(lab: Lab, **document: Any) -> tuple[int, Any]:
    async with lab.client.post("/api/v1/nodes/join", headers=AUTHORIZED, json=document) as answer:
        return answer.status, await answer.json()


async def _status(lab: Lab, method: str, path: str, **options: Any) -> int:
    async with lab.client.request(method, path, **options) as answer:
        return answer.status


async def test_a_key_is_shown_once(lab: Lab) -> None:
    """No other answer contains it, and it is not stored by caches."""
    async with lab.client.post("/api/v1/nodes/join", headers=AUTHORIZED, json={"name": "rack7"}) as answer:
        key = (await answer.json())["key"]
        assert answer.headers["Cache-Control"] == "no-store"
    for path in ("/api/v1/nodes", "/api/v1/nodes/rack7"):
        async with lab.client.get(path, headers=AUTHORIZED) as answer:
            assert key not in await answer.text()


async def test_wrong_names_and_labels_are_refused(lab: Lab) -> None:
    """The answer names the field, and nothing is stored."""
    for document, field in (
        ({}, "name"),
        ({"name": "a/b"}, "$.name"),
        ({"name": "a", "labels": {"x y": ""}}, "labels"),
        ({"name": "a", "labels": ["gpu"]}, "$.labels"),
    ):
        status, problem = await _join(lab, **document)
        assert status in (400, 422)
        assert field in problem["detail"]
    assert (await lab.get("/api/v1/nodes"))["nodes"] == []


async def test_a_token_of_the_role_node_allows_only_joining(lab: Lab) -> None:
    """It can neither list nodes nor use one, and a reader cannot join."""
    made = {}
    for role in ("node", "read"):
        async with lab.client.post("/tokens", headers=AUTHORIZED, json={"name": role, "role": role}) as answer:
            made[role] = {"Authorization": f"Bearer {(await answer.json())['token']}"}
    body = {"name": "rack7"}
    assert await _status(lab, "POST", "/api/v1/nodes/join", headers=made["read"], json=body) == 403
    assert await _status(lab, "POST", "/api/v1/nodes/join", headers=made["node"], json=body) == 201
    for method, path in (
        ("GET", "/api/v1/nodes"),
        ("DELETE", "/api/v1/nodes/rack7"),
        ("GET", "/api/v1/nodes/rack7/service/ready"),
        ("GET", "/api/v1/processes"),
    ):
        assert await _status(lab, method, path, headers=made["node"]) == 403


async def test_a_link_needs_a_key(lab: Lab) -> None:
    """Neither a wrong key nor the token of the service opens it, and a plain request is no link."""
    upgrade = {"Connection": "Upgrade", "Upgrade": "websocket", "Sec-WebSocket-Version": "13"}
    upgrade["Sec-WebSocket-Key"] = "dGhlIHNhbXBsZSBub25jZQ=="
    for path in ("/api/v1/nodes/link", "/api/v1/nodes/streams/abc"):
        for headers in ({}, {"Authorization": "Bearer smn_wrong"}, AUTHORIZED, {"Authorization": "Basic smn_wrong"}):
            wanted = 404 if "streams" in path else 401
            assert await _status(lab, "GET", path, headers={**upgrade, **headers}) in (401, wanted)
    _, joined = await _join(lab, name="rack7")
    key = {"Authorization": f"Bearer {joined['key']}"}
    assert await _status(lab, "GET", "/api/v1/nodes/link", headers=key) == 426
    assert await _status(lab, "GET", "/api/v1/nodes/streams/abc", headers={**upgrade, **key}) == 404
    # The key is for the link alone.
    assert await _status(lab, "GET", "/api/v1/nodes", headers=key) == 401


async def test_a_node_that_is_away_answers_unavailable(lab: Lab) -> None:
    """The answer says so, and names the node."""
    await _join(lab, name="rack7")
    async with lab.client.get("/api/v1/nodes/rack7/service/ready", headers=AUTHORIZED) as answer:
        assert answer.status == 503
        assert "rack7 is not connected" in (await answer.json())["detail"]
    assert await _status(lab, "GET", "/api/v1/nodes/none/service/ready", headers=AUTHORIZED) == 404
