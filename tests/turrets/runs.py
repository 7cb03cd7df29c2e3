"""Requests of a client of the service: it begins runs and waits for their states."""

from __future__ import annotations

from typing import Any

import orjson

from tests.waiting import until


async def ask(client: Any, **config: Any) -> dict[str, Any]:
    """Request a run of one second and return it."""
    async with client.post("/turret-runs", json={"run_time": 1.0} | config) as response:
        document: dict[str, Any] = orjson.loads(await response.read())
        assert response.status == 201, document
        assert response.headers["Location"] == f"/turret-runs/{document['id']}"
    return document


async def get(client: Any, path: str, status: int = 200) -> Any:
    """Return the document at a path."""
    async with client.get(path) as response:
        body = await response.read()
        assert response.status == status, body
    return orjson.loads(body)


async def post(client: Any, path: str, status: int = 200) -> Any:
    """Return the answer to a POST without a body."""
    async with client.post(path) as response:
        body = await response.read()
        assert response.status == status, body
    return orjson.loads(body)


async def until_state(client: Any, run: str, *states: str) -> dict[str, Any]:
    """Return the run when it has come to one of some states."""

    async def found() -> dict[str, Any] | None:
        document: dict[str, Any] = await get(client, f"/turret-runs/{run}")
        return document if document["state"] in states else None

    document: dict[str, Any] = await until(found)
    return document


async def until_over(client: Any, run: str) -> dict[str, Any]:
    """Return the run when it is over."""
    return await until_state(client, run, "finished", "failed", "stopped")


async def results(client: Any, run: str) -> list[dict[str, Any]]:
    """Return the single results of a run."""
    async with client.get(f"/turret-runs/{run}/results") as response:
        assert response.status == 200
        return [orjson.loads(line) for line in (await response.read()).splitlines()]
