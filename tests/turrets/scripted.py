"""Turrets that a test controls, on real sockets: one behaves like those of OCT, the other like ours."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import orjson
import zmq
import zmq.asyncio

from smartmob.turrets.protocol import Slice
from tests.turrets.messages import oct_result, oct_status, own_status, slices
from tests.waiting import SECONDS


class ScriptedTurret:
    """A connection to a headquarters. It keeps all orders; `answer` sends the messages that follow each."""

    def __init__(self, host: str, publish_port: int, rc_port: int) -> None:
        self.orders: list[dict[str, Any]] = []
        self.frames: list[bytes] = []
        self.run: str | None = None
        self.acknowledged = 0
        self._context = zmq.asyncio.Context()
        self._subscriber = self._context.socket(zmq.SUB)
        self._subscriber.connect(f"tcp://{host}:{publish_port}")
        self._subscriber.subscribe("")
        self._pusher = self._context.socket(zmq.PUSH)
        self._pusher.setsockopt(zmq.LINGER, 0)
        self._pusher.connect(f"tcp://{host}:{rc_port}")
        self._news = asyncio.Condition()
        self._reader: asyncio.Task[None] | None = None

    async def open(self) -> None:
        """Begin to listen."""
        self._reader = asyncio.create_task(self._listen())

    async def close(self) -> None:
        """Close the connection without a last message."""
        if self._reader is not None:
            self._reader.cancel()
            await asyncio.gather(self._reader, return_exceptions=True)
        self._context.destroy(linger=0)

    async def send(self, *frames: bytes) -> None:
        """Send messages."""
        for frame in frames:
            await self._pusher.send(frame)

    async def until_told(self, command: str, after: int = 0) -> dict[str, Any]:
        """Wait for an order with a command, from the `after`-th order on; return the first one."""

        def found() -> dict[str, Any] | None:
            return next((order for order in self.orders[after:] if order["command"] == command), None)

        async with asyncio.timeout(SECONDS), self._news:
            await self._news.wait_for(lambda: found() is not None)
        order = found()
        assert order is not None
        return order

    async def until_acknowledged(self, number: int) -> None:
        """Return when everything up to a number is stored."""
        async with asyncio.timeout(SECONDS), self._news:
            await self._news.wait_for(lambda: self.acknowledged >= number)

    async def answer(self, order: dict[str, Any]) -> None:
        """Send the messages that follow an order."""
        raise NotImplementedError

    async def _listen(self) -> None:
        while True:
            frame = await self._subscriber.recv()
            assert frame.startswith(b" ")
            order = json.loads(frame)
            self._read_briefing(order)
            await self.answer(order)
            async with self._news:
                self.frames.append(frame)
                self.orders.append(order)
                self._news.notify_all()

    def _read_briefing(self, order: dict[str, Any]) -> None:
        """Read the briefing of an order; turrets of OCT ignore it."""


class OctTurret(ScriptedTurret):
    """A turret like oct-turrets 0.2.8: it sends a status after each order; here it sends none without an order."""

    def __init__(self, *where: Any, uuid: str = "oct_turret-1") -> None:
        super().__init__(*where)
        self.uuid = uuid
        self.status = "ready"

    async def answer(self, order: dict[str, Any]) -> None:
        if order["command"] == "start" and self.status == "ready":
            self.status = "Running"
        elif order["command"] == "stop" and self.status == "Running":
            self.status = "ready"
        elif order["command"] == "set_transaction_context":
            dict.update({}, order["msg"])  # a turret of OCT ends with an error here if it is not an object
        await self.send(oct_status(self.status, self.uuid))

    async def fire(self, *results: dict[str, Any]) -> None:
        """Send results."""
        await self.send(*(oct_result(**result) for result in results))


class OwnTurret(ScriptedTurret):
    """A turret like ours: it numbers its messages, and reports the last number at the end."""

    def __init__(self, *where: Any, uuid: str = "own-1") -> None:
        super().__init__(*where)
        self.uuid = uuid
        self.status = "ready"
        self.sequence = 0
        self.final = False
        self.health: dict[str, Any] | None = None
        self.protocol = 1

    def _read_briefing(self, order: dict[str, Any]) -> None:
        briefing = order["smartmob"]
        run = briefing.get("run")
        self.acknowledged = briefing.get("acknowledged", {}).get(self.uuid, self.acknowledged)
        if run is None:
            self.run, self.status, self.sequence, self.final = None, "ready", 0, False
            return
        if run["id"] != self.run:
            self.run, self.sequence, self.final, self.acknowledged = run["id"], 0, False, 0
        self.status = "Running"
        if run.get("stopped"):
            self.final = True

    async def answer(self, order: dict[str, Any]) -> None:
        report = {"sequence": self.sequence, "final": self.final, "transactions": self.sequence}
        report["protocol"] = self.protocol
        if self.health is not None:
            report["health"] = self.health
        await self.send(own_status(self.status, self.run, self.uuid, **report))

    async def deliver(self, *parts: Slice) -> None:
        """Send slices under the next number."""
        self.sequence += 1
        await self.repeat(self.sequence, parts)

    async def repeat(self, number: int, parts: Sequence[Slice]) -> None:
        """Send slices under a number."""
        assert self.run is not None
        await self.send(slices(self.run, number, parts, self.uuid))


@asynccontextmanager
async def connected(turret: Any) -> AsyncIterator[Any]:
    """Let a turret listen until the end of the block."""
    await turret.open()
    try:
        yield turret
    finally:
        await turret.close()


async def where(client: Any) -> tuple[str, int, int]:
    """Return where the headquarters of a service listens."""
    async with client.get("/turrets") as response:
        ports = orjson.loads(await response.read())["headquarters"]
    return ports["host"], ports["publish_port"], ports["rc_port"]
