"""Requests to create a process that are refused: the answer names the field and says what would be right."""

from __future__ import annotations

from typing import Any

from tests.processes.conftest import Agent


async def _refused(agent: Agent, **more: Any) -> str:
    wanted = {"app": "app", "node": "web.0", "process_type": "web", "source_url": "http://127.0.0.1:1/x", **more}
    async with agent.client.post("/create-process", json=wanted) as response:
        assert response.status == 400, await response.text()
        detail: str = (await response.json(content_type=None))["detail"]
        return detail


async def test_what_is_not_known_is_refused_with_what_is_meant(agent: Agent) -> None:
    """Fields and values at any depth, and a dependency on itself, which is a cycle."""
    for more, text in (
        ({"restrat": "never"}, "$: Object contains unknown field `restrat`; did you mean restart?"),
        ({"restart": "no"}, "$.restart: Invalid enum value 'no'; expected 'always', 'on-failure', 'never'"),
        ({"limits": {"mem": 1}}, "$.limits: Object contains unknown field `mem`; "),
        ({"readiness": {"htpp": "/x"}}, "did you mean http?"),
        ({"env": {"A": "x", "B": 1}}, "$.env.B: Expected `str`, got `int`"),
        ({"depends_on": {"db": "redy"}}, "$.depends_on.db: Invalid enum value 'redy'; expected"),
        ({"depends_on": {"web.0": "ready"}}, "$.depends_on: it depends on itself: web.0 -> web.0"),
        ({"depends_on": {"web": "ready"}}, "$.depends_on: it depends on itself: web -> web"),
    ):
        assert text in await _refused(agent, **more), more
