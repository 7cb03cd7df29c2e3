"""Scripted headquarters on real sockets: one that behaves like OCT's, and one like ours."""

from __future__ import annotations

import asyncio
import json
from types import TracebackType
from typing import Any, Self

import msgspec
import zmq
import zmq.asyncio

from smartmob.turrets import protocol
from smartmob.turrets.protocol import Briefing, Order, Result, RunBriefing, Slices, Status
from tests.waiting import until


class OctHeadquarters:
    """A headquarters like that of OCT: messages with other keys than it expects are kept in `complaints`."""

    STATUS_KEYS = frozenset({"turret", "status", "uuid", "rampup", "script", "cannons"})
    RESULT_KEYS = frozenset({"turret_name", "elapsed", "epoch", "scriptrun_time", "error", "custom_timers"})

    def __init__(self, ports: tuple[int, int] = (0, 0)) -> None:
        self._context = zmq.asyncio.Context()
        # It sends as PUB does, and tells of subscriptions.
        self._publisher = self._context.socket(zmq.XPUB)
        self._publisher.setsockopt(zmq.XPUB_VERBOSE, 1)
        self._subscriptions = 0
        self._collector = self._context.socket(zmq.PULL)
        self._collector.set_hwm(0)
        for made in (self._publisher, self._collector):
            made.linger = 0
        self.ports = (_bind(self._publisher, ports[0]), _bind(self._collector, ports[1]))
        self.statuses: list[dict[str, Any]] = []
        self.results: list[dict[str, Any]] = []
        self.complaints: list[object] = []
        self._listening: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Self:
        self._listening = asyncio.create_task(self._listen())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._listening is not None
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)
        self._publisher.close()
        self._collector.close()
        self._context.term()

    async def publish(self, command: str, msg: object, channel: str = "") -> None:
        """Send an order as OCT does: the channel, a blank, and JSON."""
        await self.send(f"{channel} {json.dumps({'command': command, 'msg': msg})}".encode())

    async def send(self, frame: bytes) -> None:
        """Send any frame."""
        await self._publisher.send(frame)

    async def wait_turrets(self, number: int) -> None:
        """Ask for statuses until so many turrets are there, and hear orders: one before a subscription is lost."""

        async def there() -> bool:
            while await self._publisher.poll(0):
                self._subscriptions += (await self._publisher.recv()).startswith(b"\1")
            await self.publish("status_request", None)
            return self._subscriptions >= number and len({status["uuid"] for status in self.statuses}) >= number

        await until(there)

    async def start(self, context: dict[str, Any] | None = None) -> None:
        """Order fire as OCT does."""
        await self.publish("set_transaction_context", context or {})
        await self.publish("start", "open fire")

    async def stop(self) -> None:
        """Order the end."""
        await self.publish("stop", "premature stop")

    def unbind_results(self) -> None:
        """Stop receiving results, as OCT does right after `stop`."""
        self._collector.unbind(self._collector.LAST_ENDPOINT)

    @property
    def conditions(self) -> list[str]:
        """Return the statuses in the order of their arrival, each once."""
        found: list[str] = []
        for status in self.statuses:
            if not found or found[-1] != status["status"]:
                found.append(status["status"])
        return found

    async def _listen(self) -> None:
        while True:
            message = json.loads(await self._collector.recv())
            keys = self.STATUS_KEYS if "status" in message else self.RESULT_KEYS
            if set(message) != keys:
                self.complaints.append(message)
            (self.statuses if "status" in message else self.results).append(message)


class OwnHeadquarters:
    """A headquarters of smartmob: it repeats its briefing and acknowledges messages in order, unless it is `deaf`."""

    def __init__(self, ports: tuple[int, int] = (0, 0), keys: tuple[bytes, bytes] | None = None) -> None:
        self._context = zmq.asyncio.Context()
        # It sends as PUB does, and reports subscriptions.
        self._publisher = self._context.socket(zmq.XPUB)
        self._channels: set[bytes] = set()
        self._collector = self._context.socket(zmq.PULL)
        for made in (self._publisher, self._collector):
            made.linger = 0
            if keys is not None:
                made.curve_server = True
                made.curve_publickey, made.curve_secretkey = keys
        self.ports = (_bind(self._publisher, ports[0]), _bind(self._collector, ports[1]))
        self.deaf = False
        self.unheard = 0
        self.run: RunBriefing | None = None
        self.starts = 0.0
        self.acknowledged: dict[str, int] = {}
        self.repeated = 0
        self.statuses: list[Status] = []
        self.slices: list[Slices] = []
        self.results: list[Result] = []
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._listen()), asyncio.create_task(self._repeat())]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the sockets."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._publisher.close()
        self._collector.close()
        self._context.term()

    async def announce(self, run: RunBriefing | None) -> None:
        """Send briefings with this run from now on."""
        self.run = run
        self.starts = asyncio.get_running_loop().time() + (run.starts_in if run else 0.0)
        await self.order("status_request", None)

    async def subscribed(self, channel: str = "") -> None:
        """Wait until a turret receives the orders of a channel: one that is sent before is lost."""
        while channel.encode() not in self._channels:
            message = await self._publisher.recv()
            if message.startswith(b"\1"):
                self._channels.add(message[1:])

    async def send(self, frame: bytes) -> None:
        """Send any frame."""
        await self._publisher.send(frame)

    async def stop(self) -> None:
        """Send briefings with the run as stopped from now on."""
        assert self.run is not None
        self.run = msgspec.structs.replace(self.run, stopped=True)
        await self.order("stop", "premature stop")

    async def order(self, command: str, msg: object) -> None:
        """Send an order with the present briefing."""
        run = self.run
        if run is not None:
            run = msgspec.structs.replace(run, starts_in=self.starts - asyncio.get_running_loop().time())
        brief = Briefing(protocol=protocol.PROTOCOL, headquarters="test", run=run, acknowledged=dict(self.acknowledged))
        await self._publisher.send(protocol.encode_order(Order(command=command, msg=msg, smartmob=brief)))

    @property
    def transactions(self) -> int:
        """Return how many transactions came in, by slices or one by one."""
        return len(self.results) + sum(part.count for batch in self.slices for part in batch.slices if part.timer == "")

    @property
    def report(self) -> protocol.Report:
        """Return the last report that came, or an empty one."""
        reports = [status.smartmob for status in self.statuses if isinstance(status.smartmob, protocol.Report)]
        return reports[-1] if reports else protocol.Report(protocol=0, version="", host="", run=None)

    async def complete(self, turrets: int = 1) -> None:
        """Wait until so many turrets have sent their final reports, and all their messages are here."""

        def done() -> bool:
            final = {status.uuid: status.smartmob.sequence for status in self.statuses if _final(status, self.run)}
            return len(final) >= turrets and all(
                self.acknowledged.get(uuid, 0) >= sequence for uuid, sequence in final.items()
            )

        await until(done)

    async def _repeat(self) -> None:
        while True:
            await self.order("status_request", None)
            await asyncio.sleep(0.2)

    async def _listen(self) -> None:
        while True:
            message = protocol.decode(await self._collector.recv())
            if self.deaf:
                self.unheard += not isinstance(message, Status)
                continue
            if isinstance(message, Status):
                self.statuses.append(message)
                continue
            assert isinstance(message.uuid, str)
            assert isinstance(message.sequence, int)
            last = self.acknowledged.get(message.uuid, 0)
            if self.run is None or message.run != self.run.id or message.sequence != last + 1:
                self.repeated += 1
                continue
            self.acknowledged[message.uuid] = message.sequence
            if isinstance(message, Slices):
                self.slices.append(message)
            else:
                self.results.append(message)


def _final(status: Status, run: RunBriefing | None) -> bool:
    report = status.smartmob
    return isinstance(report, protocol.Report) and report.final and run is not None and report.run == run.id


def _bind(bound: Any, port: int) -> int:
    bound.bind(f"tcp://127.0.0.1:{port or '*'}")
    return int(bound.LAST_ENDPOINT.rpartition(b":")[2])
