"""The connection of a client to the commands of a service: one WebSocket that reconnects.

Heartbeats detect a lost connection. The client then reconnects with growing pauses, and every job continues at the byte
where its output ended.
"""

from __future__ import annotations

import asyncio
import getpass
import itertools
import socket
from collections import deque
from contextlib import suppress
from typing import Any

import aiohttp
from aiohttp import WSMsgType

from smartmob import __version__
from smartmob.client import http, reservation, tls_trust
from smartmob.client.calls import CallHandler, GatheringCall, RemoteCall, check_piece
from smartmob.client.connection_errors import OTHER_SCHEME, handshake_refusal, reason_of
from smartmob.client.failures import ClientError, ClientTimeout, NotConnected
from smartmob.client.limits import LIMITS
from smartmob.commands import protocol
from smartmob.commands.model import CommandDescription
from smartmob.commands.protocol import Done, Emitted, Hello, Ping, Pong, Refused, Started, Welcome
from smartmob.errors import InvalidInput, RemoteError, SmartmobError

HEARTBEAT_SECONDS, RECONNECT_SECONDS = 10.0, 120.0
PAUSES = (0.05, 5.0)
"""The first and the longest pause, in seconds, before a reconnection."""
_SHORT_SECONDS = 1.0
_MAX_SHORT_CONNECTIONS = 10
"""The client gives up after this number of consecutive connections that were closed within _SHORT_SECONDS."""
_CONNECT_SECONDS = 10.0
_MAX_FAULTS = 3
"""The client gives up after this number of consecutive violations of the protocol."""


class Channel:
    """A connection to the service at `url`. Call `open`, and `close` at the end, in one event loop.

    After `reconnect_for` seconds without a connection the calls of jobs fail.
    """

    def __init__(
        self,
        url: str,
        token: str | None = None,
        *,
        ca_file: tls_trust.CAFile = None,
        heartbeat: float | None = None,
        reconnect_for: float = RECONNECT_SECONDS,
    ) -> None:
        self.url = url.rstrip("/")
        self.commands: dict[str, CommandDescription] = {}
        self._cwd: str | None = None
        authorization = {} if token is None else {"Authorization": f"Bearer {token}"}
        self._headers = {"User-Agent": f"smartmob/{__version__}", **authorization, **reservation.SHOWN.headers()}
        self._token = token
        self._ca_file = ca_file
        self._heartbeat = heartbeat or HEARTBEAT_SECONDS
        self._reconnect_for = reconnect_for
        self._http: aiohttp.ClientSession | None = None
        self._socket: aiohttp.ClientWebSocketResponse | None = None
        self._calls: dict[int, RemoteCall | GatheringCall] = {}
        self._waiting_calls: list[RemoteCall | GatheringCall] = []
        self._unanswered: dict[int, asyncio.TimerHandle] = {}
        """The timers of the calls that the server has not accepted yet."""
        self._ids = itertools.count(1)
        self._pings: dict[int, asyncio.Future[None]] = {}
        self._ping_numbers = itertools.count(1)
        self._outgoing: deque[tuple[bytes, WSMsgType]] = deque()
        self._held_back = False
        self._intervals: dict[RemoteCall, float] = {}
        self._running: asyncio.Task[None] | None = None
        self._sender: asyncio.Task[None] | None = None
        self._unsent = asyncio.Event()
        self._shorter = asyncio.Event()
        self._heard = False
        self._faults = 0
        self._short = 0
        self._connected = asyncio.Event()

    @property
    def connected(self) -> bool:
        """Return whether there is a connection now."""
        return self._socket is not None

    async def open(self, timeout: float | None = None) -> None:
        """Connect, with repeated attempts for `timeout` seconds; raises NotConnected."""
        if self._socket is not None:
            return
        await self._stop_running()
        try:
            await self._open(timeout)
        except BaseException:
            await self._close_http()
            raise
        self._running = asyncio.get_running_loop().create_task(self._run(), name="smartmob-channel")

    async def _open(self, timeout: float | None) -> None:
        loop = asyncio.get_running_loop()
        deadline = None if timeout is None else loop.time() + timeout
        delay, faults = PAUSES[0], 0
        trouble = f"{self.url} did not answer within {timeout:g} s" if timeout is not None else ""
        while True:
            try:
                async with asyncio.timeout_at(deadline):
                    await self._connect()
                return
            except TimeoutError:
                raise NotConnected(trouble) from None
            except (
                aiohttp.WSServerHandshakeError,
                aiohttp.InvalidURL,
                aiohttp.NonHttpUrlClientError,
                aiohttp.ClientConnectorCertificateError,
            ) as error:
                raise NotConnected(await self._asked() or handshake_refusal(self.url, error)) from None
            except RemoteError as error:
                raise NotConnected(str(error)) from None
            except (aiohttp.ClientError, OSError, InvalidInput) as error:
                if isinstance(error, OTHER_SCHEME) and (said := await self._asked()) is not None:
                    raise NotConnected(said) from None
                trouble = f"cannot connect to {self.url}: {reason_of(error)}"
                faults += isinstance(error, InvalidInput)
                if deadline is None or loop.time() + delay > deadline or faults >= _MAX_FAULTS:
                    raise NotConnected(trouble) from None
            await asyncio.sleep(delay)
            delay = min(2 * delay, PAUSES[1])

    async def _asked(self) -> str | None:
        """Return the reason why a plain request is refused, or None."""
        return await http.refusal_of(self.url, self._token, self._ca_file, "/commands")

    async def disconnect(self) -> None:
        """Disconnect. Jobs continue on the server, and the calls of jobs continue here after the next `open`."""
        await self._stop_running()
        await self._hang_up()

    async def close(self) -> None:
        """Close the connection; all open calls fail."""
        await self.disconnect()
        self._abandon(NotConnected("the connection was closed"))
        await self._close_http()

    async def _close_http(self) -> None:
        session, self._http = self._http, None
        if session is not None:
            await session.close()

    async def _stop_running(self) -> None:
        running, self._running = self._running, None
        for task in (running, self._sender):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._sender = None

    async def _hang_up(self) -> None:
        old, self._socket = self._socket, None
        self._connected.clear()
        self._outgoing.clear()
        for future in self._pings.values():
            if not future.done():
                future.set_exception(NotConnected())
                future.exception()  # mark as retrieved: the task that pinged may have been cancelled
        self._pings.clear()
        calls, self._calls = list(self._calls.values()), {}
        while self._unanswered:
            self._unanswered.popitem()[1].cancel()
        self._waiting_calls += [call for call in calls if call.lost()]
        if old is not None:
            await old.close()

    def _abandon(self, error: Exception) -> None:
        calls, self._waiting_calls = self._waiting_calls, []
        for call in (*calls, *self._calls.values()):
            call.refused(error)
        self._calls.clear()

    async def _connect(self) -> None:
        if self._http is None:
            timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
            self._http = aiohttp.ClientSession(
                headers=self._headers,
                timeout=timeout,
                connector=tls_trust.connector(self._ca_file),
                trace_configs=[tls_trust.redirect_guard()],
            )
        opened = await self._http.ws_connect(f"{self.url}/commands", max_msg_size=LIMITS.frame_bytes, compress=0)
        try:
            hello = Hello(f"{_user()}@{socket.gethostname()}", self._cwd)
            await opened.send_frame(protocol.encode(hello), WSMsgType.TEXT)
            first = await opened.receive()
            if first.type is not WSMsgType.TEXT:
                raise InvalidInput("the server's first message is not of this protocol")
            welcome = protocol.decode_server_message(first.data)
            if not isinstance(welcome, Welcome) or welcome.version != protocol.VERSION:
                raise InvalidInput("the server speaks another version of this protocol")
        except BaseException:
            await opened.close()
            raise
        self.commands = {command.name: command for command in welcome.commands}
        self._socket = opened
        self._sender = asyncio.get_running_loop().create_task(self._send_loop(), name="smartmob-sender")
        calls, self._waiting_calls = self._waiting_calls, []
        for call in calls:
            self._begin(call)
        self._connected.set()

    # -- calls --------------------------------------------------------------------------------------------------

    async def gather_call(self, name: str, args: list[Any], kwargs: dict[str, Any]) -> GatheringCall:
        """Call a command, and return the call that gathers its messages; raises NotConnected."""
        if self._socket is None:
            await self._until_connected()
        call = GatheringCall(self, name, args, kwargs)
        self._held_back = True
        self._begin(call)
        self._held_back = False
        await self.flush()
        return call

    async def _until_connected(self) -> None:
        """Wait until a lost connection has been restored; raises NotConnected."""
        if self._running is None:
            raise NotConnected(f"there is no connection to {self.url}; call connect first")
        connected = asyncio.get_running_loop().create_task(self._connected.wait())
        await asyncio.wait({connected, self._running}, return_when=asyncio.FIRST_COMPLETED)
        if not connected.done():
            connected.cancel()
            raise NotConnected(f"the connection to {self.url} was lost")

    async def call_now(self, *args: Any, **kwargs: Any) -> RemoteCall:
        """Do what `call` does, but send within this task, which is faster than waking the sender."""
        self._held_back = True
        try:
            call = self.call(*args, **kwargs)
        finally:
            self._held_back = False
        await self.flush()
        return call

    def call(
        self,
        name: str,
        args: list[Any],
        kwargs: dict[str, Any],
        handler: CallHandler,
        *,
        max_interval: float | None = None,
    ) -> RemoteCall:
        """Call a command, whose messages go to `handler`. Raises NotConnected.

        With `max_interval` a lost connection is detected within this number of seconds.
        """
        if self._socket is None and self._running is None:
            raise NotConnected(f"there is no connection to {self.url}; call connect first")
        described = self.commands.get(name)
        call = RemoteCall(
            self, handler, name, args, kwargs, resumable=described is not None and described.background
        )  # fmt: skip
        if max_interval:
            self._intervals[call] = max_interval
            self._shorter.set()
        if self._socket is None:
            self._waiting_calls.append(call)
        else:
            self._begin(call)
        return call

    def _begin(self, call: RemoteCall | GatheringCall) -> None:
        call_id = next(self._ids) & 0xFFFFFFFF
        self._calls[call_id] = call
        loop = asyncio.get_running_loop()
        self._unanswered[call_id] = loop.call_later(LIMITS.answer_seconds, self._give_up, call_id)
        call.begin(call_id)

    def _answered(self, call_id: int) -> RemoteCall | GatheringCall | None:
        """Return the call to which a message of the server belongs, if the call is still open."""
        if (timer := self._unanswered.pop(call_id, None)) is not None:
            timer.cancel()
        return self._calls.get(call_id)

    def _give_up(self, call_id: int) -> None:
        """End a call to which the server, although connected, has not reacted."""
        del self._unanswered[call_id]
        if (call := self._calls.get(call_id)) is not None:
            self.send(protocol.Cancel(call_id))
            seconds = LIMITS.answer_seconds
            call.refused(ClientTimeout(f"{self.url} did not accept {call.name} within {seconds:g} s; it may yet run"))

    def forget(self, call_id: int) -> None:
        """Remove a call that is over."""
        self._answered(call_id)
        call = self._calls.pop(call_id, None)
        if self._intervals and isinstance(call, RemoteCall):
            self._intervals.pop(call, None)

    def moved(self, cwd: str) -> None:
        """Store the working directory, which the next connection begins with."""
        self._cwd = cwd

    async def ping(self, timeout: float | None = None) -> bool:
        """Return whether the server answers within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._connected.wait()
                number = next(self._ping_numbers)
                self._pings[number] = asyncio.get_running_loop().create_future()
                self.send(Ping(number))
                await self._pings[number]
        except (TimeoutError, ClientError):
            return False
        return True

    # -- frames -------------------------------------------------------------------------------------------------

    def send(self, message: protocol.FromClient) -> None:
        """Queue a message to send; it is dropped while there is no connection."""
        if self._socket is not None:
            self._outgoing.append((protocol.encode(message), WSMsgType.TEXT))
            if not self._held_back:
                self._unsent.set()

    def send_piece(self, kind: int, call_id: int, offset: int, data: bytes | memoryview) -> None:
        """Queue bytes to send; they are dropped while there is no connection."""
        if self._socket is not None:
            self._outgoing.append((protocol.encode_piece(kind, call_id, offset, data), WSMsgType.BINARY))
            self._unsent.set()

    async def flush(self) -> None:
        """Write all queued messages, as fast as the server reads."""
        while self._outgoing and self._socket is not None:
            # Each frame is written before the first await, so the order is kept when several tasks flush.
            content, kind = self._outgoing.popleft()
            try:
                await self._socket.send_frame(content, kind)
            except (ConnectionError, aiohttp.ClientError):
                return  # the reader detects the loss, and lost output is requested again

    async def _send_loop(self) -> None:
        while True:
            await self._unsent.wait()
            self._unsent.clear()
            await self.flush()

    async def _run(self) -> None:
        """Read until the connection is lost, reconnect, and repeat."""
        loop = asyncio.get_running_loop()
        while True:
            began = loop.time()
            await self._read()
            self._short = self._short + 1 if loop.time() - began < _SHORT_SECONDS else 0
            if self._sender is not None:
                self._sender.cancel()
            await self._hang_up()
            if self._faults >= _MAX_FAULTS or self._short >= _MAX_SHORT_CONNECTIONS:
                self._running = None
                reason = "does not keep to the protocol" if self._faults else "closes each connection at once"
                self._abandon(NotConnected(f"{self.url} {reason}"))
                return
            if not await self._reconnect():
                return

    async def _read_until_lost(self) -> None:
        assert self._socket is not None
        while True:
            message = await self._socket.receive()
            self._heard = True
            if message.type is WSMsgType.TEXT or message.type is WSMsgType.BINARY:
                try:
                    self._receive(message)
                except (SmartmobError, LookupError, TypeError, ValueError, AttributeError):
                    self._faults += 1
                    return  # bytes are missing or repeated; a new connection continues at the right byte
                self._faults = 0
            elif message.type in (WSMsgType.CLOSE, WSMsgType.CLOSING, WSMsgType.CLOSED, WSMsgType.ERROR):
                # A frame that is too large or malformed.
                self._faults += message.type is WSMsgType.ERROR
                return

    async def _monitor(self, reading: asyncio.Task[None]) -> None:
        """Send a ping after half an interval of silence, and drop the connection after the other half."""
        asked = False
        while True:
            self._heard = False
            self._shorter.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(min((self._heartbeat, *self._intervals.values())) / 2):
                    await self._shorter.wait()
                    continue
            if self._heard:
                asked = False
            elif asked:
                reading.cancel()
                return
            else:
                asked = True
                self.send(Ping(0))

    async def _read(self) -> None:
        """Read until the connection is lost or dropped."""
        loop = asyncio.get_running_loop()
        reading = loop.create_task(self._read_until_lost(), name="smartmob-reader")
        monitoring = loop.create_task(self._monitor(reading), name="smartmob-monitor")
        try:
            await asyncio.wait({reading})
        finally:
            for task in (reading, monitoring):
                task.cancel()
            await asyncio.gather(reading, monitoring, return_exceptions=True)

    def _receive(self, message: aiohttp.WSMessage) -> None:
        if message.type is WSMsgType.BINARY:
            piece = check_piece(message.data)
            if (call := self._answered(piece.id)) is not None:
                call.receive_piece(piece)
            return
        received = protocol.decode_server_message(message.data)
        if isinstance(received, Done | Emitted | Started):
            if (call := self._answered(received.id)) is not None:
                call.receive(received, len(message.data))
        elif isinstance(received, Pong):
            waiting = self._pings.pop(received.n, None)
            if waiting is not None and not waiting.done():
                waiting.set_result(None)
        elif isinstance(received, Ping):
            self.send(Pong(received.n))
        elif isinstance(received, Refused):
            call = self._calls.get(received.id) if received.id is not None else None
            if call is not None:
                call.refused(ClientError(received.detail))
        elif not isinstance(received, Welcome) and (call := self._answered(received.id)) is not None:
            call.receive(received, len(message.data))

    async def _reconnect(self) -> bool:
        """Reconnect; return False, after all calls have failed, when that takes longer than `reconnect_for`."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self._reconnect_for
        delay = min(PAUSES[0] * 2**self._short, PAUSES[1])
        reason = "it was closed"
        if self._short > 1:
            await asyncio.sleep(delay)
        while loop.time() < deadline:
            try:
                async with asyncio.timeout(_CONNECT_SECONDS):
                    await self._connect()
                return True
            except RemoteError as error:
                reason = str(error)
                break
            except aiohttp.WSServerHandshakeError as error:
                reason = (error.status == 404 and await self._asked()) or reason_of(error)
                if reason.startswith("there is no node"):
                    break
            except (aiohttp.ClientError, OSError, InvalidInput, TimeoutError, TypeError) as error:
                reason = reason_of(error)
            await asyncio.sleep(delay)
            delay = min(2 * delay, PAUSES[1])
        self._abandon(NotConnected(f"the connection to {self.url} was lost: {reason}"))
        self._running = None
        return False


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "?"
