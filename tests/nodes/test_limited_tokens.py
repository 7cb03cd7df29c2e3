"""Tokens that are limited to nodes with some labels."""

from __future__ import annotations

from typing import Any

from tests.nodes.conftest import AUTHORIZED, AddNode, Lab


async def test_a_limited_token_uses_its_nodes_and_nothing_else(lab: Lab, add_node: AddNode) -> None:
    """It lists and uses nodes with its labels by its role, sees no others, and has no right on the service itself."""
    await add_node("rack7")
    for name, labels in (("rack8", {"rack": "8"}), ("other", {})):
        async with lab.client.post(
            "/api/v1/nodes/join", json={"name": name, "labels": labels}, headers=AUTHORIZED
        ) as made:
            assert made.status == 201

    async def token(**fields: Any) -> dict[str, str]:
        async with lab.client.post("/tokens", json=fields, headers=AUTHORIZED) as made:
            return {"Authorization": f"Bearer {(await made.json())['token']}"}

    async def status(method: str, path: str, shown: dict[str, str]) -> int:
        async with lab.client.request(
            method, path, headers=shown, json={"text": "x"} if method == "POST" else None
        ) as answer:
            return answer.status

    control = await token(name="a", role="control", only_nodes="rack=7,gpu")
    reader = await token(name="b", role="read", only_nodes="rack=7")
    none = await token(name="c", role="control", only_nodes="rack=9")
    base = "/api/v1/nodes/rack7/service"
    async with lab.client.get("/api/v1/nodes", headers=control) as answer:
        assert [node["name"] for node in (await answer.json())["nodes"]] == ["rack7"]
    async with lab.client.get("/api/v1/nodes", headers=none) as answer:
        assert (await answer.json())["nodes"] == []
    assert await status("POST", f"{base}/marks", control) == 201
    assert await status("GET", f"{base}/marks", reader) == 200
    assert await status("POST", f"{base}/marks", reader) == 403
    assert [await status("GET", f"{base}/marks", none), await status("GET", "/api/v1/nodes/rack7", none)] == [404, 404]
    for other in ("rack8", "other", "unknown"):
        assert await status("GET", f"/api/v1/nodes/{other}/service/marks", control) == 404
        assert await status("GET", f"/api/v1/nodes/{other}", control) == 404
    for method, path in (
        ("GET", "/marks"), ("POST", "/marks"), ("GET", "/tokens"), ("POST", "/tokens"), ("GET", "/commands"),
        ("PATCH", "/api/v1/nodes/rack7"), ("DELETE", "/api/v1/nodes/rack7"), ("POST", "/api/v1/nodes/join"),
        ("GET", "/console"), ("GET", "/api/v1/audit"), ("GET", "/metrics"), ("GET", "/openapi.json"),
    ):  # fmt: skip
        assert await status(method, path, control) == 403, (method, path)
    async with lab.client.post(
        "/tokens", json={"name": "d", "role": "node", "only_nodes": "rack=7"}, headers=AUTHORIZED
    ) as answer:
        assert answer.status == 400
