"""Runs an application: listens, stops on a signal, and answers the accepted requests before it ends.

It overrides internals of aiohttp: tests/kernel/http/test_aiohttp_internals.py fails when they change.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, Protocol

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from smartmob.environment import environment
from smartmob.errors import SettingsError, StartupError
from smartmob.kernel.http import bound_sockets, tls
from smartmob.kernel.http.connection import ServerConnection
from smartmob.kernel.http.fixed_paths import FixedPaths
from smartmob.kernel.http.gate import RequestGate, malformed_reason
from smartmob.kernel.http.response_headers import SERVER
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.observability.notify import Notifier
from smartmob.kernel.subprocesses import pid1
from smartmob.settings import Settings

log = get_logger()

_BACKLOG_CONNECTIONS = 4096
"""Connections that wait to be accepted, the most that Linux allows by default (listen(2)): a thousand nodes that
reconnect open several each. A node that finds the queue full tries again after growing pauses of up to a minute.
"""
_MAX_OPEN_FILES = 65_536


class _MalformedRequests(logging.Filter):
    """Replaces aiohttp's log record with a traceback for a malformed body by one line: the client made the error."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            log.info("http.malformed", reason=malformed_reason(error))
            return False
        # A body that cannot be unpacked has been answered already; aiohttp fails again when it discards the rest of the
        # body.
        return not isinstance(error, web.RequestPayloadError)


_MALFORMED_REQUESTS = _MalformedRequests()


class _Server(web.Server):
    """Creates a `ServerConnection` for each accepted connection."""

    def __init__(self, made: web.Server, app: web.Application, gate: RequestGate, options: dict[str, Any]) -> None:
        super().__init__(FixedPaths(app, made.request_handler).__call__, request_factory=made.request_factory)
        self._gate = gate
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return ServerConnection(
            self,
            self._gate,
            loop=asyncio.get_running_loop(),
            # BodyReader unpacks bodies within limits; a body that no handler reads is not unpacked.
            auto_decompress=False,
            lingering_time=0.0,
            **self._options,
        )


class Runner(web.AppRunner):
    """Runs an application with our own class of connections."""

    def __init__(self, app: web.Application, gate: RequestGate, shutdown_timeout: float, **options: Any) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout)
        app.on_response_prepare.append(_set_server_header)
        self._gate = gate
        self._options = options

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self.app, self._gate, self._options)


async def _set_server_header(_: web.Request, response: web.StreamResponse) -> None:
    """Replace the header Server, in which aiohttp names its version and that of Python."""
    response.headers["Server"] = SERVER


class Front(Protocol):
    """The processes that accept the connections of clients, and pass requests on to this one."""

    error: str | None
    """The reason why the service has to stop, or None."""

    @property
    def address(self) -> tuple[str, int]:
        """Return the host and the port on which they listen."""

    async def start(self, accept: Accept, on_failure: Callable[[], object]) -> None:
        """Start the processes; `accept` gets their connections. Raises StartupError.

        `on_failure` is called if one of them fails later.
        """

    def reload(self) -> None:
        """Read the certificate again."""

    def stop_accepting(self) -> None:
        """Refuse new connections."""

    async def close(self, seconds: float) -> None:
        """Wait at most `seconds` until all active requests are answered."""


async def serve(
    app: web.Application,
    gate: RequestGate,
    settings: Settings,
    *,
    on_stop: Callable[[], None],
    force_stop: Callable[[], None],
    drain: Callable[[float], Awaitable[None]] | None = None,
    on_ready: Callable[[str, int], Awaitable[None]] | None = None,
    on_serving: Callable[[Accept], object] | None = None,
    front: Front | None = None,
    sock: socket.socket | None = None,
) -> None:
    """Serve `app` behind `gate` until SIGINT, SIGTERM or the end of the terminal, then stop in order.

    Calls `on_ready` with the host and the port when the service answers, `on_stop` when the stop begins, `drain` with
    its time limit in seconds to wait for active requests, and `force_stop` on a second signal, just before the process
    exits. `on_serving`, `front` and `sock` are those of `listening`. Raises StartupError.
    """
    allow_open_files()
    certificate = tls.certificate(settings)
    notifier = Notifier(environment())
    stop = stop_on_signals(force_stop, certificate, None if front is None else front.reload)

    def front_failed() -> None:
        if not stop.done():
            stop.set_result("a worker cannot start")

    try:
        async with listening(
            app, gate, settings, certificate=certificate, drain=drain, on_serving=on_serving, front=front,
            on_failure=front_failed, sock=sock,
        ) as (host, port):  # fmt: skip
            notifier.ready()
            if on_ready is not None:
                await on_ready(host, port)
            reason = await stop
            notifier.stopping()
            on_stop()
            log.info("stop", reason=reason)
    finally:
        notifier.close()
    if front is not None and front.error is not None:
        raise StartupError(front.error)


Accept = Callable[[socket.socket], Coroutine[Any, Any, None]]
"""Serves a connected socket as an accepted connection."""


@asynccontextmanager
async def listening(
    app: web.Application,
    gate: RequestGate,
    settings: Settings,
    *,
    certificate: tls.Certificate | None = None,
    drain: Callable[[float], Awaitable[None]] | None = None,
    on_serving: Callable[[Accept], object] | None = None,
    front: Front | None = None,
    on_failure: Callable[[], object] = lambda: None,
    sock: socket.socket | None = None,
) -> AsyncIterator[tuple[str, int]]:
    """Serve `app` behind `gate` until the end of the block; yield the host and the port on which it listens.

    After the block new connections are refused, `drain` is called with its time limit in seconds, and the application
    is stopped. `on_serving` is called when the service answers, with a function that serves connected sockets. With
    `front` other processes listen, and `on_failure` is called if they fail; with `sock` that bound socket is used. Sets
    no signal handler and no limit of this process. Raises StartupError.
    """
    runner = _runner(app, gate, settings)
    if front is None and sock is None:
        sock = bound_sockets.bind(settings.host, settings.port)
    try:
        await runner.setup()
        context = None if certificate is None else certificate.context
        if front is not None:
            await front.start(_acceptor(runner), on_failure)
            host, port = front.address
        elif sock is not None:
            await web.SockSite(runner, sock, backlog=_BACKLOG_CONNECTIONS, ssl_context=context).start()
            host, port = sock.getsockname()[:2]
        log.info("bind", transport="tcp" if context is None else "tls", host=host, port=port)
        if on_serving is not None:
            on_serving(_acceptor(runner))
        yield host, port
        if front is not None:
            front.stop_accepting()
        for site in tuple(runner.sites):
            await site.stop()
        if drain is not None:
            # Before aiohttp's own shutdown, which discards bodies that are still arriving.
            await drain(settings.stop_timeout)
    finally:
        try:
            if front is not None:
                await front.close(settings.stop_timeout)
            await (runner.cleanup() if runner.server is not None else app.cleanup())
        finally:
            if sock is not None:
                sock.close()


@asynccontextmanager
async def serving_streams(
    app: web.Application, gate: RequestGate, settings: Settings, drain: Callable[[float], Awaitable[None]]
) -> AsyncIterator[Accept]:
    """Serve `app` behind `gate` only on the passed sockets, until the end of the block; it listens on no port.

    Yields the function that serves a connected socket. After the block `drain` is called with its time limit in
    seconds, and the application is stopped.
    """
    runner = _runner(app, gate, settings)
    try:
        await runner.setup()
        yield _acceptor(runner)
        await drain(settings.stop_timeout)
    finally:
        await (runner.cleanup() if runner.server is not None else app.cleanup())


def _runner(app: web.Application, gate: RequestGate, settings: Settings) -> Runner:
    # Our own child logger of aiohttp's logger, so that the filter changes nothing for other servers in this process.
    server_log = logging.getLogger("aiohttp.server.smartmob")
    server_log.addFilter(_MALFORMED_REQUESTS)
    return Runner(
        app,
        gate,
        settings.stop_timeout,
        # aiohttp applies it also to connections that have not yet sent a complete request head.
        keepalive_timeout=settings.idle_timeout,
        access_log=None,
        logger=server_log,
    )


def _acceptor(runner: Runner) -> Accept:
    async def accept(connected: socket.socket) -> None:
        assert runner.server is not None
        await asyncio.get_running_loop().connect_accepted_socket(runner.server, connected)

    return accept


def stop_on_signals(
    force_stop: Callable[[], None],
    certificate: tls.Certificate | None,
    reload: Callable[[], None] | None = None,
) -> asyncio.Future[str]:
    """Return a future whose result will be the name of the signal that stops the service.

    SIGHUP makes the service read the certificate again and call `reload`.
    """
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[str] = loop.create_future()
    # On a terminal SIGHUP means that the terminal was closed. Without a terminal, or under `nohup`, only a person or an
    # init system sends it, as a request to reload, as with every daemon.
    on_terminal = pid1.on_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN

    def receive(number: signal.Signals) -> None:
        if stop.done():
            log.warning("stop.forced", reason=number.name)
            force_stop()
            os._exit(128 + number)
        stop.set_result(number.name)

    def hang_up() -> None:
        if not on_terminal:
            reload_certificate(certificate)
            if reload is not None:
                reload()
        elif not stop.done():  # the terminal and its shell may both send it, so a second one does not force the stop
            stop.set_result(signal.SIGHUP.name)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, receive, number)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    return stop


def reload_certificate(certificate: tls.Certificate | None) -> None:
    """Read the certificate again; log whether it was accepted."""
    if certificate is None:
        return
    try:
        certificate.reload()
    except SettingsError as error:
        log.error("tls.refused", reason=str(error))
    else:
        log.info("tls.reloaded", cert=str(certificate.cert))


def allow_open_files() -> None:
    """Raise the soft limit of open files, which is often 1,024, towards the hard limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _MAX_OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _MAX_OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems allow less than their hard limit
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
