"""The reporting agent: samples the load of this machine and sends it to a service over one WebSocket.

It needs neither a database nor a server of its own. While the service cannot be reached, samples wait on disk; they are
sent between new samples once it can. Times are by the clock of the service: the agent measures the offset of its own
clock by exchanges of four timestamps (RFC 5905 section 8), and advances by a monotonic clock.
"""

from __future__ import annotations

import asyncio
import base64
import secrets
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import aiohttp
import msgspec
from yarl import URL

from smartmob import __version__
from smartmob.client import tls_trust
from smartmob.client.backlog import Backlog
from smartmob.client.clock_offset import exchange_result
from smartmob.counts import counted
from smartmob.errors import NotAllowed, NotAuthenticated, RemoteError
from smartmob.hosts.fields import Container, Snapshot, container_text
from smartmob.hosts.model import sample_fields
from smartmob.hosts.sampler.devices import Choice
from smartmob.hosts.sampler.snapshot import SnapshotReader
from smartmob.hosts.sampler.stale_fields import StaleChanges

_ANSWER_SECONDS = 10.0
_EXCHANGES = 5
"""The number of clock exchanges of a measurement; the quickest one counts."""
_MEASURE_SECONDS = 600.0
_FIRST_DELAY, _LONGEST_DELAY = 0.5, 15.0  # seconds before a reconnection
_MAX_HELD_SAMPLES = 10
_CHUNK_SAMPLES, _CHUNK_BYTES = 500, 96 * 1024  # of one message of the backlog

Report = Callable[[str], None]
"""A callback for messages to a person."""


class Clocks(msgspec.Struct, frozen=True):
    """The wall clock in seconds since 1970, and a monotonic clock in seconds."""

    wall: Callable[[], float]
    steady: Callable[[], float]


class HostCredentials(msgspec.Struct, frozen=True):
    """The address of the service, and the name and password of this machine.

    `token` is a token of the service, needed where registration is closed. `proxy` is an HTTP proxy on the way to it.
    """

    url: str
    name: str
    password: str
    token: str | None = None
    ca_file: tls_trust.CAFile = None
    proxy: str | None = None

    @property
    def client_id(self) -> str:
        """Return the credential of this machine, which is sent with each sample."""
        return base64.b64encode(f"{self.name}:{self.password}".encode()).decode()


class _Refused(Exception):
    """The service refused a message, and would refuse it again."""


class Reporter:
    """The agent. `report` is called with messages for a person."""

    def __init__(
        self,
        account: HostCredentials,
        backlog: Backlog,
        clocks: Clocks,
        interval: float,
        report: Report,
        *,
        chosen: Choice = Choice(),  # noqa: B008 - it is immutable
    ) -> None:
        self._account = account
        self._backlog = backlog
        self._clocks = clocks
        self._interval = interval
        self._report = report
        self._base = clocks.wall() - clocks.steady()
        self._held: deque[bytes] = deque()
        self._sample_added = asyncio.Event()
        self._connected = False
        self._snapshots = SnapshotReader(chosen)
        self._stale_changes = StaleChanges()
        self._container: Container | None = None
        self._numbers = secrets.randbits(60)
        self._random = secrets.SystemRandom()
        self.delivered = 0

    async def run(self) -> None:
        """Report until cancelled; raises NotAuthenticated or NotAllowed when the service refuses this machine."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sample_loop())
                group.create_task(self._delivery_loop())
        except ExceptionGroup as errors:  # `except*` of Python before 3.11.4 makes a group of what it raises
            refused = errors.subgroup((NotAuthenticated, NotAllowed, RemoteError))
            if refused is None:
                raise
            raise refused.exceptions[0] from None
        finally:
            self._store_on_disk()

    # -- sampling --------------------------------------------------------------------------------------------------

    async def _sample_loop(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while True:
            due += self._interval
            now = loop.time()
            if due < now - self._interval:
                due = now  # the machine was suspended
            await asyncio.sleep(due - now)
            self._numbers += 1
            # In a thread: it waits for the probes, of which one may hang.
            snapshot = await asyncio.to_thread(self._snapshots.read, 0.0)
            self._report_changes(snapshot)
            self._hold(sample_fields(snapshot))
            self._sample_added.set()

    def _hold(self, fields: Mapping[str, Any]) -> None:
        """Keep a sample in memory until it is sent, or on disk while there is no connection."""
        time = round(self._clocks.steady() + self._base, 3)
        self._held.append(msgspec.json.encode({"time": time, "id": self._numbers % 2**62, **fields}))
        if not self._connected or len(self._held) > _MAX_HELD_SAMPLES:
            self._store_on_disk()

    def _report_changes(self, snapshot: Snapshot) -> None:
        """Say which fields cannot be measured, and whose memory and processors are measured."""
        for name, field in self._stale_changes.of(snapshot):
            if field is None:
                self._report(f"{name} is measured again")
            else:
                self._report(f"{name} cannot be measured ({field.reason}); the other fields are sent")
        if snapshot.container != self._container and snapshot.container is not None:
            self._report(f"this is a container: {container_text(snapshot.container)}")
        self._container = snapshot.container

    def _store_on_disk(self) -> None:
        """Move samples that are not delivered to disk."""
        lost = self._backlog.lost
        try:
            self._backlog.add(list(self._held))
        except OSError as error:
            self._report(f"{counted(len(self._held), 'sample')} lost: the backlog cannot be written: {error.strerror}")
        self._held.clear()
        if self._backlog.lost > lost and not lost:
            self._report("the backlog is full: the oldest samples are lost from now on")

    # -- delivering -----------------------------------------------------------------------------------------------

    async def _delivery_loop(self) -> None:
        trust, delay = tls_trust.ReloadedTrust(self._account.ca_file), _FIRST_DELAY
        while True:
            started = self.delivered
            try:
                await self._deliver_until_lost(trust)
            except (aiohttp.ClientError, TimeoutError, RemoteError) as error:
                if self._connected or delay == _FIRST_DELAY:
                    reason = tls_trust.certificate_problem(error) or str(error) or "no answer in time"
                    self._report(f"{self._account.url} is away ({reason}); samples are kept")
            finally:
                self._connected = False
                self._store_on_disk()
            delay = _FIRST_DELAY if self.delivered > started else min(delay * 2, _LONGEST_DELAY)
            # Not all at once: a service that restarts gets back hundreds of agents.
            await asyncio.sleep(delay * self._random.uniform(0.5, 1.0))

    async def _deliver_until_lost(self, trust: tls_trust.ReloadedTrust) -> None:
        """Connect, and deliver until the connection is lost."""
        async with aiohttp.ClientSession(
            headers={"User-Agent": f"smartmob/{__version__}"},
            timeout=aiohttp.ClientTimeout(total=_ANSWER_SECONDS),
            connector=trust.connector(),
            trace_configs=[tls_trust.redirect_guard()],
            proxy=self._account.proxy,
        ) as session:
            await self._register(session)
            async with session.ws_connect(
                URL(self._account.url) / "echo", timeout=aiohttp.ClientWSTimeout(ws_close=_ANSWER_SECONDS)
            ) as socket:
                await self._converse(socket)

    async def _register(self, session: aiohttp.ClientSession) -> None:
        account = self._account
        headers = {"Authorization": f"Bearer {account.token}"} if account.token else {}
        document = {"username": account.name, "password": account.password}
        async with session.post(URL(account.url) / "client", json=document, headers=headers) as response:
            if response.status == 200:
                return
            said = (await response.content.read(500)).decode(errors="replace")
            if response.status == 401:
                raise NotAuthenticated(
                    f"the service knows a machine {account.name!r} with another password, or does not allow the name, "
                    "or registers no machine without its token. Choose another --name, or give the machine's password "
                    "with --password-file, or the token with --token-file."
                )
            if response.status == 403:
                raise NotAllowed(f"the service refuses this machine: {said}. Give --token-file.")
            raise RemoteError(f"the service answered {response.status}: {said}", response.status)

    async def _converse(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        await self._ask(socket, {"type": "HELLO"})
        measured = await self._measure(socket)
        self._connected = True
        self._report(f"reporting to {self._account.url} as {self._account.name}")
        while True:
            while self._held:
                sample = self._held[0]
                await self._send_fresh(socket, sample)
                self.delivered += 1
                # It may have been put on disk meanwhile; then it is sent twice and stored once.
                if self._held and self._held[0] is sample:
                    self._held.popleft()
            if self._backlog:
                await self._send_backlog(socket)
                continue
            drift = abs(self._clocks.wall() - self._clocks.steady() - measured[1])
            if drift > 1.0 or self._clocks.steady() - measured[0] > _MEASURE_SECONDS:
                measured = await self._measure(socket)
            self._sample_added.clear()
            if not self._held:
                await self._sample_added.wait()

    async def _send_fresh(self, socket: aiohttp.ClientWebSocketResponse, sample: bytes) -> None:
        message = {"type": "CLIENT_DATA", "data": msgspec.Raw(sample), "client_id": self._account.client_id}
        try:
            await self._ask(socket, {**message, "interval": self._interval})
        except _Refused as error:
            self._report(f"a sample was refused: {error}")

    async def _send_backlog(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        samples = self._backlog.take(_CHUNK_SAMPLES, _CHUNK_BYTES)
        if not samples:
            return
        message = {
            "type": "BACKFILL",
            "samples": [msgspec.Raw(sample) for sample in samples],
            "client_id": self._account.client_id,
        }
        try:
            payload = await self._ask(socket, message)
        except _Refused as error:
            self._report(f"{counted(len(samples), 'sample')} of the backlog refused: {error}")
        else:
            if payload["refused"]:
                refused = payload["refused"]
                self._report(
                    f"{counted(len(refused), 'sample')} of the backlog refused, the first because: {refused[0]}"
                )
            self.delivered += payload["stored"]
        self._backlog.done()

    async def _measure(self, socket: aiohttp.ClientWebSocketResponse) -> tuple[float, float]:
        """Measure how far the clock is off and tell the service; return when that was, and by which clocks."""
        wall, steady = self._clocks.wall, self._clocks.steady
        found: list[tuple[float, float]] = []
        for _ in range(_EXCHANGES):
            apart = wall() - steady()
            sent = steady() + apart
            answer = await self._ask(socket, {"type": "CLOCK", "sent": sent})
            back = steady() + apart
            found.append(exchange_result(sent, answer["received"], answer["answered"], back))
        # The quickest exchange was disturbed least.
        delay, offset = min(found)
        self._base = apart + offset
        message = {"type": "CLOCK_OFFSET", "offset": offset, "delay": delay, "client_id": self._account.client_id}
        await self._ask(socket, message)
        if abs(offset) > 1.0:
            self._report(f"the clock of this machine is {offset:+.1f} s off; samples are sent by the service's clock")
        return steady(), apart

    async def _ask(self, socket: aiohttp.ClientWebSocketResponse, message: dict[str, Any]) -> Any:
        """Send a message and return what its answer brings; raises _Refused or RemoteError."""
        await socket.send_str(msgspec.json.encode(message).decode())
        async with asyncio.timeout(_ANSWER_SECONDS):
            answer = await socket.receive()
        if answer.type is not aiohttp.WSMsgType.TEXT:
            raise RemoteError("the connection was closed")
        document = msgspec.json.decode(answer.data)
        if document["type"] != "ERROR":
            return document["payload"]
        if document.get("problem") == "invalid-input":
            raise _Refused(document["reason"])
        raise RemoteError(document["reason"])
