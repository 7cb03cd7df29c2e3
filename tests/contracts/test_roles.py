"""Every route asks for a role, and a token without it changes nothing."""

from __future__ import annotations

from typing import Any

from smartmob.app import build
from smartmob.kernel.access.model import CONTROL, INGEST, READ
from smartmob.settings import Settings

OWN = {"Authorization": "Bearer own-secret"}


async def test_each_route_lets_in_only_its_roles(with_settings: Any, settings: Settings) -> None:
    """With each kind of token, by each method and address that the router knows."""
    client = await with_settings(token="own-secret")
    headers = {}
    for role in (READ, INGEST):
        async with client.post("/tokens", json={"name": role, "role": role}, headers=OWN) as response:
            headers[role] = {"Authorization": f"Bearer {(await response.json())['token']}"}
    operations = [
        (method.upper(), path, operation)
        for path, item in build(settings).document["paths"].items()
        for method, operation in item.items()
    ]
    checked = 0
    for method, path, operation in operations:
        if operation.get("security") == [{}]:
            continue
        allowed = operation["x-roles"]
        assert CONTROL in allowed
        address = path.replace("{n}", "1").replace("{", "").replace("}", "")
        for role, shown in headers.items():
            if role in allowed:
                continue
            async with client.request(method, address, headers=shown, allow_redirects=False) as response:
                assert response.status == 403, f"{role} {method} {path}"
                assert response.content_type == "application/problem+json"
            checked += 1
        if method == "GET":
            assert READ in allowed or path == "/tokens"
        else:
            assert READ not in allowed
    assert checked > 50
