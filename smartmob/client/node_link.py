"""The link of this machine, a node, to the service that it has joined.

The node dials out, so it needs no port that others can reach. It joins once with a token, and gets a key of its own.
For each stream that the service asks for, it dials another WebSocket, whose bytes it passes to its own HTTP server.
What the node has recorded is delivered over the link, in order: the next records are sent when the service has stored
the ones before.
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import socket as sockets
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextlib import suppress
from typing import Any, Protocol
from urllib.parse import quote

import aiohttp
import msgspec

from smartmob import __version__
from smartmob.client import node_key, tls_trust
from smartmob.client.clock_offset import exchange_result
from smartmob.client.node_key import JoinRefused, Membership, NodeKey
from smartmob.errors import RemoteError, Unavailable
from smartmob.nodes import protocol
from smartmob.nodes.model import NodeActivity, NodeFacts
from smartmob.nodes.pipe import pipe
from smartmob.nodes.records import shortened

__all__ = ["Accept", "JoinRefused", "LocalServer", "Membership", "NodeLink", "Outbox", "Waiting"]

_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 0.5, 30.0
"""The delay before a reconnection doubles from the first to the longest; a random part of it is waited."""
_PROVEN_SECONDS = 30.0
"""A link that has lasted so long was good: the delays begin anew."""
_CONNECT_SECONDS = 20.0
_CLOCK_EXCHANGES = 5
"""The number of clock exchanges of a measurement; the quickest one counts."""
_CLOCK_SECONDS = 600.0
"""The interval at which the clock is measured again."""
_JUMP_SECONDS = 1.0
"""A clock that has moved by more against the monotonic one was set, and is measured again at once."""
_ACTIVITY_SECONDS = 1.0
"""The interval at which changes of programs and jobs are looked for."""
_MOST_STREAMS = 1_000
"""Streams at the same time, as the service has them; further ones are not dialled."""
_FINAL_CODES = {4003: "this node was removed from the service; join again with a token"}
"""Close codes after which the node does not connect again."""
_REPLACED = 4001  # a close code
_CLOSED_REASONS = {
    _REPLACED: "another machine has connected with the key of this node; if this is a copy of that one, delete its key "
    "file and join under another name",
    1007: "it does not understand a message of this node; is it an older version?",
}
"""Close codes that need the attention of a person."""

Accept = Callable[[sockets.socket], Awaitable[None]]
"""Hands a connected socket to the HTTP server of this machine, which serves it as an accepted connection."""
Start = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[Any]]
"""Starts a background task of this name."""
Report = Callable[[str], None]
"""A callback for messages to a person."""


class Waiting(Protocol):
    """A record that waits: its number, its kind, and its value as JSON."""

    @property
    def number(self) -> int:
        """Return its number."""

    @property
    def kind(self) -> str:
        """Return its kind."""

    @property
    def value(self) -> msgspec.Raw:
        """Return its value."""


class Outbox(Protocol):
    """The records of this node that the service has not stored yet."""

    id: str

    @property
    def dropped(self) -> int:
        """Return how many records were dropped because too many waited."""

    async def wait_for_records(self) -> None:
        """Wait until there are records."""

    async def first_records(self, max_bytes: int) -> Sequence[Waiting]:
        """Return the oldest records, with at most `max_bytes` of values unless one alone has more."""

    async def delivered(self, number: int) -> None:
        """Remember that the service has stored the records up to this number."""

    async def renew_id(self) -> None:
        """Take a new id, because another journal has the present one."""


class LocalServer(msgspec.Struct, frozen=True):
    """The HTTP server of this machine: `accept` serves a stream, `start` starts the task that copies its bytes.

    `set_secret` gets the secret of the present link from `make_secret`, and None when the link has ended. `activity`
    returns the programs and the running jobs of this machine.
    """

    start: Start
    accept: Accept
    set_secret: Callable[[str | None], None]
    make_secret: Callable[[], str]
    activity: Callable[[], NodeActivity] = NodeActivity


class NodeLink:
    """Joins a service and keeps the link to it. `wall` is the clock in seconds since 1970.

    `outbox` has the records to deliver. `on_host` is called with the key when the service has said as which machine
    this node reports its load; None: the node does not report.
    """

    def __init__(
        self,
        membership: Membership,
        server: LocalServer,
        wall: Callable[[], float],
        report: Report,
        outbox: Outbox | None = None,
        on_host: Callable[[NodeKey], None] | None = None,
    ) -> None:
        self._membership = membership
        self._url = membership.url.rstrip("/")
        self._server = server
        self._wall = wall
        self._report = report
        self._outbox = outbox
        self._on_host = on_host
        self._key = node_key.read_key(membership)
        self._streams: set[asyncio.Task[Any]] = set()
        self._clock: tuple[float, float] | None = None  # delay and offset in seconds
        self._measured = asyncio.Event()
        self._apart = 0.0  # the wall clock minus the monotonic one when the clock was last asked for
        self._stored: asyncio.Queue[int] = asyncio.Queue()

    @property
    def key(self) -> NodeKey | None:
        """Return the key of this node, or None before it has joined."""
        return self._key

    async def run(self) -> None:
        """Join, connect, and connect again after each loss; raises JoinRefused."""
        delay, reported = _FIRST_DELAY_SECONDS, ""
        if self._key is not None and self._membership.named and self._key.name != self._membership.name:
            self._report(
                f"this machine is the node {self._key.name} already, so the name {self._membership.name} is not used; "
                f"`smartmob nodes rm {self._key.name}` removes that node, and it can join again under another name"
            )
        loop, trust = asyncio.get_running_loop(), tls_trust.ReloadedTrust(self._membership.ca_file)
        while True:
            begun = loop.time()
            try:
                code = await self._join_and_connect(trust)
                reason = _CLOSED_REASONS.get(code)
                reported = ""
                self._report(f"the connection to {self._url} was closed{f': {reason}' if reason else ''}")
                if reason:
                    delay = _LONGEST_DELAY_SECONDS
            except JoinRefused:
                raise
            except (aiohttp.ClientError, OSError, TimeoutError, RemoteError) as error:
                reason = _reason(error, self._url)
                if reason != reported:
                    self._report(f"cannot connect to {self._url}: {reason}; trying again")
                reported = reason
            if loop.time() - begun > _PROVEN_SECONDS:
                delay = _FIRST_DELAY_SECONDS
            await asyncio.sleep(random.uniform(delay / 2, delay))  # noqa: S311  # spreads nodes, hides nothing
            delay = min(2 * delay, _LONGEST_DELAY_SECONDS)

    async def _join_and_connect(self, trust: tls_trust.ReloadedTrust) -> int:
        """Join if there is no key, connect, and return the close code when the link has ended."""
        async with aiohttp.ClientSession(
            timeout=aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS),
            connector=trust.connector(),
            trace_configs=[tls_trust.redirect_guard()],
            proxy=self._membership.proxy,
            headers={"User-Agent": f"smartmob/{__version__}"},
        ) as session:
            try:
                if self._key is None:
                    self._key = await node_key.join(session, self._membership)
                    self._report(f"joined {self._url} as {self._key.name}")
                return await self._connect(session)
            finally:
                self._server.set_secret(None)
                await self._end_streams()

    async def _connect(self, session: aiohttp.ClientSession) -> int:
        """Connect, and return the close code when the link has ended."""
        assert self._key is not None
        headers = {"Authorization": f"Bearer {self._key.key}"}
        try:
            websocket = await session.ws_connect(
                self._url + protocol.LINK_PATH,
                headers=headers,
                heartbeat=protocol.HEARTBEAT_SECONDS,
                max_msg_size=protocol.MAX_MESSAGE_BYTES,
            )
        except aiohttp.WSServerHandshakeError as error:
            if error.status in (401, 403):
                raise JoinRefused(
                    f"{self._url} does not accept the key of this node, maybe because the node was removed; "
                    f"to join again, delete {self._membership.key_file} and give a token"
                ) from None
            raise
        async with websocket:
            secret = self._server.make_secret()
            self._server.set_secret(secret)
            await websocket.send_str(protocol.write(protocol.Facts(self._facts(), secret)))
            await self._converse(session, websocket, headers, secret)
        code = websocket.close_code or 0
        if (reason := _FINAL_CODES.get(code)) is not None:
            self._membership.key_file.unlink(missing_ok=True)
            raise JoinRefused(reason)
        return code

    async def _converse(
        self, session: aiohttp.ClientSession, websocket: aiohttp.ClientWebSocketResponse,
        headers: dict[str, str], secret: str,
    ) -> None:  # fmt: skip
        """Handle the messages of the service, and send clock questions and records, until the link ends."""
        self._measured.clear()
        self._stored = asyncio.Queue()
        tasks = [
            self._server.start("node-clock", self._request_time(websocket)),
            self._server.start("node-activity", self._report_activity(websocket)),
        ]
        if self._outbox is not None:
            tasks.append(self._server.start("node-records", self._deliver(websocket, self._outbox)))
        try:
            await self._receive(session, websocket, headers, secret)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _receive(
        self, session: aiohttp.ClientSession, websocket: aiohttp.ClientWebSocketResponse,
        headers: dict[str, str], secret: str,
    ) -> None:  # fmt: skip
        exchanges: list[tuple[float, float]] = []
        while (received := await websocket.receive()).type is aiohttp.WSMsgType.TEXT:
            back = self._wall()
            try:
                message = protocol.read_from_service(received.data)
            except (msgspec.DecodeError, RecursionError) as error:
                raise RemoteError(f"it has sent an invalid message: {error}") from None
            match message:
                case protocol.Open():
                    self._open(session, message.stream, headers)
                case protocol.Welcome():
                    self._report(f"connected to {self._url} as {message.node}")
                    if self._on_host is not None and self._key is not None:
                        await websocket.send_str(protocol.write(protocol.Account(self._key.host_password)))
                case protocol.ClockAnswer():
                    exchange = exchange_result(message.sent, message.received, message.answered, back)
                    if self._clock_was_set() or exchange[0] < 0:
                        exchanges.clear()  # by two clocks
                    else:
                        exchanges.append(exchange)
                    if len(exchanges) < _CLOCK_EXCHANGES:
                        await websocket.send_str(protocol.write(protocol.Clock(self._wall())))
                        continue
                    self._clock = min(exchanges)
                    exchanges.clear()
                    await websocket.send_str(protocol.write(protocol.Facts(self._facts(), secret)))
                    self._measured.set()
                case protocol.ReportedHost():
                    self._set_host(message.name)
                case protocol.Stored():
                    self._stored.put_nowait(message.number)

    def _set_host(self, name: str) -> None:
        if self._on_host is None or self._key is None:
            return
        if self._key.host != name:
            self._key = msgspec.structs.replace(self._key, host=name)
            node_key.write_key(self._membership.key_file, self._key)
        self._on_host(self._key)

    async def _request_time(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        """Begin a measurement of the clock now, from time to time, because clocks drift, and when it was set."""
        loop, due = asyncio.get_running_loop(), 0.0
        while True:
            if loop.time() >= due or self._clock_was_set():
                self._apart, due = self._wall() - loop.time(), loop.time() + _CLOCK_SECONDS
                with suppress(ConnectionError):
                    await websocket.send_str(protocol.write(protocol.Clock(self._wall())))
            await asyncio.sleep(_ACTIVITY_SECONDS)

    def _clock_was_set(self) -> bool:
        """Return whether the clock has been set since it was asked for; records then wait for its measurement."""
        was_set = abs(self._wall() - asyncio.get_running_loop().time() - self._apart) > _JUMP_SECONDS
        if was_set:
            self._measured.clear()
        return was_set

    async def _report_activity(self, websocket: aiohttp.ClientWebSocketResponse) -> None:
        """Send the programs and jobs of this machine, and again when they have changed, at most once a second."""
        last = None
        while True:
            activity = self._server.activity()
            if activity != last:
                with suppress(ConnectionError):
                    await websocket.send_str(protocol.write(protocol.Activity(activity)))
                last = activity
            await asyncio.sleep(_ACTIVITY_SECONDS)

    async def _deliver(self, websocket: aiohttp.ClientWebSocketResponse, outbox: Outbox) -> None:
        """Send the oldest records, wait until they are stored, and go on, until cancelled."""
        while True:
            try:
                await outbox.wait_for_records()
                self._clock_was_set()
                await self._measured.wait()  # the service corrects their times
                waiting = await outbox.first_records(protocol.RECORD_BYTES)
                if not waiting:
                    continue
                records = [_record(each) for each in waiting]
                await websocket.send_str(protocol.write(protocol.Records(outbox.id, records, outbox.dropped)))
                number = await self._stored.get()
                if number > records[-1].number:
                    # Another journal with this id has delivered more: this one is a copy, or was set back.
                    await outbox.renew_id()
                elif number >= records[0].number:
                    await outbox.delivered(number)
                else:
                    await asyncio.sleep(_FIRST_DELAY_SECONDS)  # the service has not stored them
            except (ConnectionError, Unavailable) as error:
                self._report(f"records are not delivered: {error}")
                await asyncio.sleep(_FIRST_DELAY_SECONDS)

    def _open(self, session: aiohttp.ClientSession, stream: str, headers: dict[str, str]) -> None:
        if len(self._streams) >= _MOST_STREAMS:
            return  # the request fails at the service when nothing is dialled
        task = self._server.start("node-stream", self._serve_stream(session, stream, headers))
        self._streams.add(task)
        task.add_done_callback(self._streams.discard)

    async def _serve_stream(self, session: aiohttp.ClientSession, stream: str, headers: dict[str, str]) -> None:
        with suppress(
            aiohttp.ClientError, OSError, TimeoutError
        ):  # the service answers 503 to the request of the stream
            async with session.ws_connect(
                f"{self._url}{protocol.STREAM_PATH}/{quote(stream, safe='')}",
                headers=headers,
                heartbeat=protocol.HEARTBEAT_SECONDS,
                max_msg_size=protocol.STREAM_MESSAGE_BYTES,
            ) as websocket:
                ours, theirs = sockets.socketpair()
                for end in (ours, theirs):
                    end.setblocking(False)
                await self._server.accept(theirs)
                await pipe(websocket, ours)

    async def _end_streams(self) -> None:
        for task in tuple(self._streams):
            task.cancel()
        await asyncio.gather(*self._streams, return_exceptions=True)

    def _facts(self) -> NodeFacts:
        delay, offset = self._clock or (None, None)
        return NodeFacts(
            version=__version__,
            machine=sockets.gethostname(),
            system=f"{platform.system()} {platform.release()} {platform.machine()}",
            python=platform.python_version(),
            cpus=os.cpu_count() or 0,
            memory=_memory(),
            clock_offset=offset,
            clock_delay=delay,
            service=self._url,
        )


def _record(waiting: Waiting) -> protocol.Record:
    value = bytes(waiting.value)
    if len(value) > protocol.RECORD_BYTES:
        value = shortened(value)
    return protocol.Record(waiting.number, waiting.kind, msgspec.Raw(value))


def _reason(error: BaseException, url: str) -> str:
    """Return why a connection failed, with what to do where that is known."""
    if (problem := tls_trust.certificate_problem(error)) is not None:
        return problem
    if isinstance(error, aiohttp.ClientConnectorSSLError):
        return "it does not speak TLS; is its address http://?"
    text = str(error) or type(error).__name__
    if isinstance(error, aiohttp.ServerDisconnectedError) and url.startswith("http://"):
        return f"{text}; if it speaks TLS, its address is https://"
    return text


def _memory() -> int:
    """Return the bytes of memory of this machine, or 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0
