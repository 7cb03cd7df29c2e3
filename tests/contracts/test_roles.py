"""Every route asks for a role, and a token without it changes nothing."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import asyncpg

from smartmob.app import build
from smartmob.kernel.access.model import CONTROL, INGEST, READ
from smartmob.kernel.openapi import documented_path
from smartmob.settings import Settings
from tests.contracts.test_routes import ROUTES, address

OWN = {"Authorization": "Bearer own-secret"}
SOCKET = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def _guarded(settings: Settings) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield method, address and operation of what the router knows and asks a token for."""
    told = {}
    for path, item in build(settings).document["paths"].items():
        for method, operation in item.items():
            for server in operation.get("servers", [{"url": ""}]):
                told[method.upper(), server["url"].rstrip("/") + path] = operation
    for method, path in ROUTES:
        plain = documented_path("/" + path[path.index("}", path.index("_odd")) + 1 :] if "_odd" in path else path)
        operation = told[method, plain]
        # A public route is public at its own address only.
        if operation.get("security") != [{}] or "_odd" in path:
            for verb in ("GET", "HEAD") if method == "GET" else (method,):
                yield verb, address(path, "x"), operation


async def _refused(client: Any, method: str, path: str, headers: dict[str, str]) -> int:
    url = f"http://127.0.0.1:{client.server.port}{path}"
    async with client.session.request(method, url, headers=headers, allow_redirects=False) as response:
        if response.status >= 400:
            assert response.content_type == "application/problem+json", (method, path)
        return int(response.status)


async def _rows(url: str) -> dict[str, int]:
    """Return how many rows each table has, but for what the service notes of its own machine."""
    connection = await asyncpg.connect(url)
    try:
        # Partitions are made ahead of time whoever asks; what is in them counts as their table's.
        names = await connection.fetch(
            "SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND NOT relispartition "
            "AND relnamespace = 'public'::regnamespace"
        )
        kept = sorted(row[0] for row in names if not row[0].startswith("host"))
        return {name: await connection.fetchval(f'SELECT count(*) FROM "{name}"') for name in kept}
    finally:
        await connection.close()


async def test_each_route_lets_in_only_its_roles(with_settings: Any, settings: Settings) -> None:
    """By each method and address that the router knows, odd ones too, with each token and none; nothing happens."""
    client = await with_settings(token="own-secret")
    headers = {}
    for role in (READ, INGEST):
        async with client.post("/tokens", json={"name": role, "role": role}, headers=OWN) as response:
            headers[role] = {"Authorization": f"Bearer {(await response.json())['token']}"}
    before = await _rows(str(settings.database.url))
    assert before["access_tokens"] == 2
    checked = 0
    for method, path, operation in _guarded(settings):
        allowed = operation["x-roles"]
        assert CONTROL in allowed
        assert await _refused(client, method, path, {}) == 401, (method, path)
        for role, shown in headers.items():
            if role not in allowed:
                assert await _refused(client, method, path, shown) == 403, (role, method, path)
                checked += 1
            if method == "GET" and role not in operation.get("x-socket-roles", allowed):
                assert await _refused(client, method, path, shown | SOCKET) == 403, (role, method, path)
                checked += 1
        if method in ("GET", "HEAD"):
            assert READ in allowed or path == "/tokens"
        else:
            assert READ not in allowed
    assert checked > 200
    assert await _rows(str(settings.database.url)) == before
