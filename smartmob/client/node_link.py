"""The link of this machine, a node, to the service that it has joined.

The node dials out, so it needs no port that others can reach. It joins once with a token, and gets a key of its own.
For each stream that the service asks for, it dials another WebSocket, whose bytes it passes to its own HTTP server.
"""

from __future__ import annotations

import asyncio
import os
import platform
import random
import socket as sockets
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec

from smartmob import __version__
from smartmob.client import tls_trust
from smartmob.client.clock_offset import exchange_result
from smartmob.errors import RemoteError, StartupError
from smartmob.nodes import protocol
from smartmob.nodes.model import NodeFacts
from smartmob.nodes.pipe import pipe

_FIRST_DELAY_SECONDS, _LONGEST_DELAY_SECONDS = 0.5, 30.0
"""The delay before a reconnection doubles from the first to the longest; a random part of it is waited."""
_CONNECT_SECONDS = 20.0
_CLOCK_EXCHANGES = 5
"""The number of clock exchanges of a measurement; the quickest one counts."""
_CLOCK_SECONDS = 600.0
_FINAL_CODES = {4003: "this node was removed from the service; join again with a token"}
"""Close codes after which the node does not connect again."""

Accept = Callable[[sockets.socket], Awaitable[None]]
"""Hands a connected socket to the HTTP server of this machine, which serves it as an accepted connection."""
Start = Callable[[str, Coroutine[Any, Any, None]], asyncio.Task[Any]]
"""Starts a background task of this name."""
Report = Callable[[str], None]
"""A callback for messages to a person."""


class JoinRefused(StartupError):
    """The service refuses this machine, and would do so again."""


@dataclass(frozen=True, slots=True)
class Membership:
    """The service that this machine joins, and its name and labels there. `key_file` keeps its key between starts."""

    url: str
    name: str
    key_file: Path
    labels: Mapping[str, str] = field(default_factory=dict)
    token: str | None = None
    ca_file: Path | None = None


class _Key(msgspec.Struct, frozen=True):
    """The content of the key file."""

    url: str
    name: str
    key: str


@dataclass(frozen=True, slots=True)
class LocalServer:
    """The HTTP server of this machine: `accept` serves a stream, `start` starts the task that copies its bytes.

    `set_secret` gets the secret of the present link from `make_secret`, and None when the link has ended.
    """

    start: Start
    accept: Accept
    set_secret: Callable[[str | None], None]
    make_secret: Callable[[], str]


class NodeLink:
    """Joins a service and keeps the link to it. `wall` is the clock in seconds since 1970."""

    def __init__(self, membership: Membership, server: LocalServer, wall: Callable[[], float], report: Report) -> None:
        self._membership = membership
        self._url = membership.url.rstrip("/")
        self._server = server
        self._wall = wall
        self._report = report
        self._key = self._read_key()
        self._streams: set[asyncio.Task[Any]] = set()
        self._clock: tuple[float, float] | None = None  # delay and offset in seconds

    async def run(self) -> None:
        """Join, connect, and connect again after each loss; raises JoinRefused."""
        delay, reported = _FIRST_DELAY_SECONDS, ""
        timeout = aiohttp.ClientTimeout(total=None, connect=_CONNECT_SECONDS)
        async with aiohttp.ClientSession(
            timeout=timeout,
            connector=tls_trust.connector(self._membership.ca_file),
            trace_configs=[tls_trust.redirect_guard()],
            headers={"User-Agent": f"smartmob/{__version__}"},
        ) as session:
            while True:
                try:
                    if self._key is None:
                        await self._join(session)
                    await self._connect(session)
                    delay, reported = _FIRST_DELAY_SECONDS, ""
                    self._report(f"the connection to {self._url} was closed")
                except (aiohttp.ClientError, OSError, TimeoutError, RemoteError) as error:
                    reason = tls_trust.certificate_problem(error) or str(error) or type(error).__name__
                    if reason != reported:
                        self._report(f"cannot connect to {self._url}: {reason}; trying again")
                    reported = reason
                finally:
                    self._server.set_secret(None)
                    await self._end_streams()
                await asyncio.sleep(random.uniform(delay / 2, delay))  # noqa: S311  # spreads nodes, hides nothing
                delay = min(2 * delay, _LONGEST_DELAY_SECONDS)

    async def _join(self, session: aiohttp.ClientSession) -> None:
        membership = self._membership
        if membership.token is None:
            raise JoinRefused(
                "this machine has not joined yet, which needs a token: make one with "
                "`smartmob token add NAME --role node`, and give --join-token-file FILE"
            )
        async with session.post(
            f"{self._url}/api/v1/nodes/join",
            json={"name": membership.name, "labels": dict(membership.labels)},
            headers={"Authorization": f"Bearer {membership.token}"},
        ) as answer:
            if answer.status == 201:
                joined = msgspec.json.decode(await answer.read(), type=_Joined)
                self._key = _Key(self._url, joined.name, joined.key)
                self._write_key(self._key)
                self._report(f"joined {self._url} as {joined.name}")
                return
            detail = await _detail(answer)
        if answer.status in (400, 401, 403, 404, 405, 409):
            raise JoinRefused(f"{self._url} refuses this machine: {detail}")
        raise RemoteError(detail, answer.status)

    async def _connect(self, session: aiohttp.ClientSession) -> None:
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
            await self._receive(session, websocket, headers, secret)
        if (reason := _FINAL_CODES.get(websocket.close_code or 0)) is not None:
            self._membership.key_file.unlink(missing_ok=True)
            raise JoinRefused(reason)

    async def _receive(
        self, session: aiohttp.ClientSession, websocket: aiohttp.ClientWebSocketResponse,
        headers: dict[str, str], secret: str,
    ) -> None:  # fmt: skip
        """Handle the messages of the service until the link ends."""
        exchanges: list[tuple[float, float]] = []
        while (received := await websocket.receive()).type is aiohttp.WSMsgType.TEXT:
            back = self._wall()
            message = protocol.read_from_service(received.data)
            if isinstance(message, protocol.Open):
                task = self._server.start("node-stream", self._serve_stream(session, message.stream, headers))
                self._streams.add(task)
                task.add_done_callback(self._streams.discard)
            elif isinstance(message, protocol.Welcome):
                self._report(f"connected to {self._url} as {message.node}")
                await websocket.send_str(protocol.write(protocol.Clock(self._wall())))
            elif isinstance(message, protocol.ClockAnswer):
                exchanges.append(exchange_result(message.sent, message.received, message.answered, back))
                if len(exchanges) < _CLOCK_EXCHANGES:
                    await websocket.send_str(protocol.write(protocol.Clock(self._wall())))
                else:
                    self._clock = min(exchanges)
                    await websocket.send_str(protocol.write(protocol.Facts(self._facts(), secret)))

    async def _serve_stream(self, session: aiohttp.ClientSession, stream: str, headers: dict[str, str]) -> None:
        with suppress(
            aiohttp.ClientError, OSError, TimeoutError
        ):  # the service answers 503 to the request of the stream
            async with session.ws_connect(
                f"{self._url}{protocol.STREAM_PATH}/{stream}",
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
        )

    def _read_key(self) -> _Key | None:
        """Return the key of this node at this service, or None before it has joined."""
        try:
            key = msgspec.json.decode(self._membership.key_file.read_bytes(), type=_Key)
        except FileNotFoundError:
            return None
        except (OSError, msgspec.DecodeError) as error:
            raise StartupError(f"cannot read the key of this node in {self._membership.key_file}: {error}") from None
        return key if key.url == self._url else None

    def _write_key(self, key: _Key) -> None:
        file = self._membership.key_file
        file.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(new := f"{file}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            os.write(descriptor, msgspec.json.encode(key))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        os.replace(new, file)


class _Joined(msgspec.Struct, frozen=True):
    name: str
    key: str


async def _detail(answer: aiohttp.ClientResponse) -> str:
    """Return the reason of a refusal: the detail of a problem document, or the status."""
    body = await answer.content.read(16 * 1024)
    with suppress(msgspec.DecodeError):
        if detail := msgspec.json.decode(body, type=dict[str, object]).get("detail"):
            return str(detail)
    return f"it answered {answer.status} {answer.reason}"


def _memory() -> int:
    """Return the bytes of memory of this machine, or 0 where the system does not tell."""
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError):
        return 0
