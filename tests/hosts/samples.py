"""Machines and samples for the tests."""

from __future__ import annotations

import asyncio
import base64
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import orjson

from smartmob.hosts.fields import Memory, Snapshot, Storage
from smartmob.kernel.runtime import clock
from tests.waiting import SECONDS

NAME, PASSWORD, CLIENT_ID = "wood", "123", "d29vZDoxMjM="
"""The machine of seed 001."""

_numbers = itertools.count(1)


def client_id(name: str, password: str = PASSWORD) -> str:
    """Return the client id of a machine."""
    return base64.b64encode(f"{name}:{password}".encode()).decode()


def sample(time: float | None = None, **changes: Any) -> dict[str, Any]:
    """Return a sample as existing clients send it, by default of now."""
    document = {"cpu_load": 25.9, "mem": 6172, "storage": 95888, "time": int(clock.epoch()) if time is None else time}
    return {key: value for key, value in (document | changes).items() if value is not None}


def snapshot(at: float = 1_795_400_000.0, **changes: Any) -> Snapshot:
    """Return a snapshot of a machine."""
    values: dict[str, Any] = {
        "at": at,
        "cpu": 12.5,
        "cores": [10.0, 15.0],
        "load": (0.5, 0.4, 0.3),
        "memory": Memory(8 * 2**30, 4 * 2**30, 50.0, 3 * 2**30, 2**30, 1, 2, 3, 2**20, 5, 6),
        "swap_used": 0,
        "swap_total": 2**30,
        "storage": Storage(100 * 2**30, 25.5, 25 * 2**30 + 7, 75 * 2**30),
        "disk_read": 1.0,
        "disk_write": 2.0,
        "net_received": 3.0,
        "net_sent": 4.0,
        "temperatures": {"cpu 0": 55.5},
    }
    return Snapshot(**(values | changes))


async def register(client: Any, name: str = NAME, password: str = PASSWORD, **options: Any) -> str:
    """Register a machine and return its client id."""
    async with client.post("/client", json={"username": name, "password": password}, **options) as response:
        assert response.status == 200, await response.text()
        return str((await response.json())["client_id"])


async def answered(response: Any) -> tuple[int, Any]:
    """Return the status and the document of a response."""
    async with response as answer:
        return answer.status, await answer.json(content_type=None)


class Talk:
    """A connection in the echo protocol."""

    def __init__(self, socket: Any) -> None:
        self.socket = socket

    async def say(self, message: Any) -> None:
        """Send a message: a text as it is, anything else as JSON."""
        await self.socket.send_str(message if isinstance(message, str) else orjson.dumps(message).decode())

    async def hear(self) -> dict[str, Any]:
        """Return the next message."""
        async with asyncio.timeout(SECONDS):
            return dict(orjson.loads(await self.socket.receive_str()))

    async def ask(self, message: Any) -> dict[str, Any]:
        """Send a message and return the next one that is not an event."""
        await self.say(message)
        while (heard := await self.hear())["type"] == "EVENT":
            pass
        return heard

    async def send(self, data: Any, client_id: str = CLIENT_ID) -> dict[str, Any]:
        """Send a sample as the existing clients do, with a HELLO before, and return the answer."""
        assert (await self.ask({"type": "HELLO"}))["type"] == "WELCOME"
        return await self.ask({"type": "CLIENT_DATA", "data": data, "interval": 1, "client_id": client_id})


@asynccontextmanager
async def talking(client: Any, **options: Any) -> AsyncIterator[Talk]:
    """Yield a connection after HELLO."""
    async with client.ws_connect("/echo", **options) as socket:
        talk = Talk(socket)
        assert await talk.ask({"type": "HELLO"}) == {"type": "WELCOME", "payload": {"welcome": "WELCOME"}}
        yield talk


async def report(client: Any, name: str = NAME, ident: str = CLIENT_ID, **query: Any) -> list[dict[str, Any]]:
    """Return the stored samples of a machine."""
    path = f"/client/{name}/time/report"
    async with client.get(path, params=query, headers={"Authorization": ident}) as response:
        assert response.status == 200, await response.text()
        return list((await response.json())["payload"])
