"""A small run of tests on a service, for the tests of the commands that show and export runs."""

from __future__ import annotations

from typing import Any

from tests.metrics.samples import context, metric, session


async def fill(client: Any) -> None:
    """Send a context, a session and three measures."""
    for path, document in (
        ("/contexts/", context()),
        ("/sessions/", session("ab" * 16, description={"branch": "main"})),
        ("/metrics/", [metric(session_h="ab" * 16, item=f"test_{n}", total_time=n + 0.5) for n in range(3)]),
    ):
        async with client.post(path, json=document) as response:
            assert response.status == 201
