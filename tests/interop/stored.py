"""The rows of a service and of the plugin's own database, in the same form."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path
from typing import Any

Rows = list[dict[str, Any]]


def url(client: Any, user: str = "") -> str:
    """Return the address of the service that `client` talks to."""
    return f"http://{user}127.0.0.1:{client.server.port}"


async def get(client: Any, path: str) -> Any:
    """Return what a path answers."""
    async with client.get(path) as response:
        assert response.status == 200, await response.text()
        return await response.json()


async def rows(client: Any, what: str, **options: Any) -> Rows:
    """Return everything of a listing that fits on one page."""
    async with client.get(f"/api/v1/{what}/", **options) as response:
        if response.status == 204:
            return []
        assert response.status == 200, await response.text()
        document = await response.json()
        assert "next_url" not in document
        found: Rows = document[what]
        return found


async def count(client: Any, what: str) -> int:
    """Return how many there are, as the service counts them."""
    return int((await get(client, f"/{what}/count"))["count"])


async def items(client: Any) -> list[str]:
    """Return the tests that have metrics."""
    return [metric["item"] for metric in await rows(client, "metrics")]


def in_pymon(path: Path) -> dict[str, Rows]:
    """Return the rows of the plugin's database as the service lists them."""
    names = {
        "env_h": "context_h",
        "cpu_frequency_mhz": "cpu_frequency",
        "ram_total_mb": "ram_total",
        "scm_id": "scm_ref",
        "run_description": "tags",
    }
    found = {}
    connection = sqlite3.connect(path)
    tables = {"contexts": "EXECUTION_CONTEXTS", "sessions": "TEST_SESSIONS", "metrics": "TEST_METRICS"}
    for what, table in tables.items():
        cursor = connection.execute(f"SELECT * FROM {table} ORDER BY rowid")
        columns = [names.get(column[0].lower(), column[0].lower()) for column in cursor.description]
        found[what] = [dict(zip(columns, row, strict=True)) for row in cursor]
    connection.close()
    for context in found["contexts"]:
        context["h"] = context["context_h"]
    for session in found["sessions"]:
        session["tags"] = [{"name": name, "value": value} for name, value in json.loads(session["tags"]).items()]
    return found
