"""Limits on open connections, and the routes that have them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from typing import Any

import orjson
import pytest

from smartmob.errors import Unavailable
from smartmob.feature_settings import CommandsSettings
from smartmob.kernel.http.connection_limit import ConnectionLimit
from tests.processes.conftest import SLEEP, Agent
from tests.processes.file_server import running_file_server
from tests.turrets.conftest import QUICK
from tests.turrets.runs import ask
from tests.waiting import until

HANDSHAKE = {
    "Connection": "Upgrade",
    "Upgrade": "websocket",
    "Sec-WebSocket-Version": "13",
    "Sec-WebSocket-Key": "AAAAAAAAAAAAAAAAAAAAAA==",
}


def test_one_address_gets_no_more_than_its_share() -> None:
    """All spellings of an IPv6 network share one limit, and other addresses still connect."""
    places = ConnectionLimit("viewers", 10, 2)
    with ExitStack() as stack:
        for address in ("2001:db8::1", "2001:db8::2"):
            stack.enter_context(places.slot(address))
        with pytest.raises(Unavailable, match="2 viewers are connected from this address"), places.slot("2001:db8::3"):
            pass
        stack.enter_context(places.slot("192.0.2.1"))
        assert len(places) == 3
    assert len(places) == 0


def test_no_more_than_the_total_are_connected() -> None:
    """Above the total every client is refused until a connection is closed."""
    places = ConnectionLimit("viewers", 1, 1)
    with places.slot("a"), pytest.raises(Unavailable, match="1 viewers are connected"), places.slot("b"):
        pass
    with places.slot("b"):
        assert len(places) == 1


async def _console(_: Any) -> str:
    return "/console/live"


async def _run(client: Any) -> str:
    return f"/turret-runs/{(await ask(client))['id']}/live"


async def _job(client: Any) -> str:
    response = await client.post("/commands/exec", json={"cmd": "echo up; read x"})
    number = orjson.loads(await response.content.readline())["number"]
    response.close()
    await until(lambda: _may_call(client))
    return f"/jobs/{number}/output?follow=true"


async def _may_call(client: Any) -> bool:
    """Return whether a command can be called, which needs a free slot."""
    async with client.post("/commands/exec", json={"cmd": "true"}) as response:
        await response.read()
        return bool(response.status == 200)


async def _process(client: Any) -> str:
    async with running_file_server() as files:
        await Agent(client, files).run(SLEEP)
    return "/attach-console/app.web.0"


async def _commands(_: Any) -> str:
    return "/commands"


DOORS = {"console": _console, "run": _run, "job": _job, "process": _process, "commands": _commands}


@pytest.mark.parametrize("most", ["all", "address"])
@pytest.mark.parametrize("door", DOORS)
async def test_each_long_lived_route_is_limited(
    door: str, most: str, with_settings: Callable[..., Awaitable[Any]]
) -> None:
    """A connection above the limit gets 503 with a reason and Retry-After; a closed one frees its slot."""
    overall, by_address = (1, 5) if most == "all" else (5, 1)
    client = await with_settings(
        viewers=overall,
        viewers_by_address=by_address,
        commands=CommandsSettings(connections=overall, connections_by_address=by_address),
        turrets=QUICK,
    )
    path = await DOORS[door](client)
    # A handshake that is not followed by frames, or an answer without an end: both keep their place.
    staying = await client.get(path, headers=HANDSHAKE)
    assert staying.status in (101, 200)
    async with client.get(path, headers=HANDSHAKE) as response:
        document = await response.json(content_type="application/problem+json")
    assert (response.status, "Retry-After" in response.headers) == (503, True)
    assert document["detail"].startswith("1 ")
    staying.close()

    async def free() -> bool:
        response = await client.get(path, headers=HANDSHAKE)
        response.close()
        return bool(response.status in (101, 200))

    await until(free)


@pytest.mark.parametrize(("overall", "by_address"), [(1, 5), (5, 1)])
async def test_running_calls_over_http_are_limited(
    overall: int, by_address: int, with_settings: Callable[..., Awaitable[Any]]
) -> None:
    """A command above the limit gets 503 and is not run; a client that disconnects from a silent one frees its slot."""
    client = await with_settings(viewers=overall, viewers_by_address=by_address)
    staying = await client.post("/commands/exec", json={"cmd": "echo up; read x"})
    assert orjson.loads(await staying.content.readline())["number"]
    async with client.post("/commands/exec", json={"cmd": "true"}) as response:
        document = await response.json(content_type="application/problem+json")
    assert (response.status, "Retry-After" in response.headers) == (503, True)
    assert document["detail"].startswith("1 ")
    assert len((await (await client.get("/jobs")).json())["jobs"]) == 1
    staying.close()
    await until(lambda: _may_call(client))
