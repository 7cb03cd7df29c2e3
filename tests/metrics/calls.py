"""Requests of the tests of routes."""

from __future__ import annotations

from typing import Any

import orjson


async def post(client: Any, path: str, document: Any) -> tuple[int, Any]:
    """Post a document; return the status and the answer."""
    async with client.post(path, json=document) as response:
        return response.status, await response.json(content_type=None)


async def get(client: Any, path: str) -> Any:
    """Return the document at a path, which must be there."""
    async with client.get(path) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def count(client: Any, what: str = "metrics") -> int:
    """Return the number of stored metrics, or of others."""
    return int((await get(client, f"/{what}/count"))["count"])


def lines(documents: list[dict[str, Any]]) -> bytes:
    """Return documents as NDJSON."""
    return b"".join(orjson.dumps(document) + b"\n" for document in documents)
