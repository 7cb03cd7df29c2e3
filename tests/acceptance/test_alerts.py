"""Alerts of the installed service, which is killed between the decision and the delivery."""

from __future__ import annotations

import signal
import socket
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from aiohttp import web

from tests.acceptance.commands import RunningCommand, kill_postgres, serving
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

API = "/api/v1/alerts"


async def _request(service: RunningCommand, method: str, path: str, **document: Any) -> Any:
    async with (
        aiohttp.ClientSession() as session,
        session.request(method, f"{service.url}{path}", json=document or None) as answer,
    ):
        body = await answer.read()
        assert answer.status < 300, body
        return orjson.loads(body) if answer.content_type == "application/json" else body


async def _notifications(service: RunningCommand) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = (await _request(service, "GET", f"{API}/notifications"))["notifications"]
    return found


async def test_a_message_survives_the_kill_of_the_service_and_of_its_database(reachable_path: Path) -> None:
    """An alert that fired before a SIGKILL arrives once after it, under the id of the first attempt."""
    data, got = reachable_path / "data", list[tuple[str, Any]]()

    async def receive(request: web.Request) -> web.Response:
        got.append((request.headers["webhook-id"], await request.json()))
        return web.Response()

    options = ("--alerts-tick", "0.2", "--alerts-group-wait", "0")
    with socket.socket() as listener:
        # Connections are refused until the socket listens.
        listener.bind(("127.0.0.1", 0))
        async with serving(data, *options) as service:
            address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
            await _request(service, "PUT", f"{API}/receivers/ops", address=address)
            await _request(service, "PUT", f"{API}/rules/jobs", condition="job failed")
            await _request(service, "POST", "/commands/exec", cmd="exit 3")
            await until(lambda: b"alerts.not_sent" in service.errors)  # warnings go to standard error
            [first] = await _notifications(service)
            kill_postgres(data)
            await service.stop(signal.SIGKILL)

        app = web.Application()
        app.router.add_post("/", receive)
        runner = web.AppRunner(app)
        await runner.setup()
        await web.SockSite(runner, listener).start()
        try:
            async with serving(data, *options) as service:
                await until(lambda: got)
                await until(lambda: _is_sent(service, first["id"]))
                await _request(service, "POST", "/commands/exec", cmd="exit 4")
                await until(lambda: len(got) > 1)
        finally:
            await runner.cleanup()
    assert [(alert["subject"], alert["status"]) for _, document in got for alert in document["alerts"]] == [
        ("exit 3", "firing"),
        ("exit 4", "firing"),
    ]
    assert got[0][0] == first["batch"] == got[0][1]["id"]


async def _is_sent(service: RunningCommand, ident: str) -> bool:
    return any(each["id"] == ident and each["sent_at"] for each in await _notifications(service))
