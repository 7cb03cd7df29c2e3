"""Runs an application: listens, says so, stops on a signal, and finishes first what it has accepted."""

from __future__ import annotations

import asyncio
import logging
import os
import resource
import signal
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.streams import StreamReader

from smartmob.errors import SettingsError, StartupError
from smartmob.kernel.http import tls
from smartmob.kernel.http.json_response import SERVER
from smartmob.kernel.http.requests import RequestGate, why_malformed
from smartmob.kernel.observability.notify import Notifier
from smartmob.kernel.subprocesses import pid1
from smartmob.settings import Settings, environment

log = structlog.get_logger()

_BACKLOG = 1024
_OPEN_FILES = 65_536
_LINGER_BYTES = 16 * 1024 * 1024
_LINGER_SECONDS = 2.0


class _MalformedRequests(logging.Filter):
    """Turns what aiohttp says of a body that is no HTTP, with a traceback, into one line: it is not our error."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            log.info("http.malformed", reason=why_malformed(error))
            return False
        # A body that cannot be unpacked was answered; aiohttp meets it again when it throws away the rest.
        return not isinstance(error, web.RequestPayloadError)


class _Connection(web.RequestHandler):
    """A connection whose malformed requests are answered like all others; aiohttp's own answer is plain text."""

    __slots__ = ("_entrance",)

    def __init__(self, server: _Server, gate: RequestGate, **options: Any) -> None:
        super().__init__(server, **options)
        self._entrance = gate

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Return the answer to what could not be read, or failed outside of the application."""
        if not isinstance(exc, Exception) or request.writer.output_size:
            return super().handle_error(request, status, exc, message)
        response = self._entrance.turn_away(request, exc)
        response.force_close()
        return response

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send the answer; what was not read of the body is thrown away as it came, and only a little of it."""
        sent = await super().finish_response(request, resp, start_time)
        content = request.content
        if not content.is_eof() and not self._force_close and not await _ends(content):
            self.close()
        return sent


async def _ends(content: StreamReader) -> bool:
    """Throw away what still comes of a body; return whether it ended within the bounds of that.

    A client that is cut off while it sends may never see the answer, so the rest is read, but not much of it.
    """
    size = 0
    try:
        async with asyncio.timeout(_LINGER_SECONDS):
            while not content.is_eof() and size < _LINGER_BYTES:
                size += len(await content.readany())
    except (TimeoutError, HttpProcessingError, web.RequestPayloadError, ConnectionError):
        return False
    return content.is_eof()


class _Server(web.Server):
    """Makes the connections."""

    def __init__(self, made: web.Server, gate: RequestGate, options: dict[str, Any]) -> None:
        super().__init__(made.request_handler, request_factory=made.request_factory)
        self._entrance = gate
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return _Connection(
            self,
            self._entrance,
            loop=asyncio.get_running_loop(),
            # Bodies are unpacked by who reads them, within limits; what nobody reads is not unpacked at all.
            auto_decompress=False,
            lingering_time=0.0,
            **self._options,
        )


class Runner(web.AppRunner):
    """Runs an application on connections of ours."""

    def __init__(self, app: web.Application, gate: RequestGate, shutdown_timeout: float, **options: Any) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout)
        app.on_response_prepare.append(_hide_software)
        self._entrance = gate
        self._options = options

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._entrance, self._options)


async def _hide_software(_: web.Request, response: web.StreamResponse) -> None:
    """Replace what aiohttp says of itself and of Python in an answer."""
    response.headers["Server"] = SERVER


async def serve(
    app: web.Application,
    gate: RequestGate,
    settings: Settings,
    *,
    stopping: Callable[[], None],
    at_once: Callable[[], None],
    finish: Callable[[float], Awaitable[None]] | None = None,
    ready: Callable[[str, int], Awaitable[None]] | None = None,
) -> None:
    """Serve `app` behind its `entrance` until SIGINT, SIGTERM or the end of the terminal, then stop in order.

    `stopping` is called when the stop begins, `finish` (with the seconds that it may take) to wait for the requests
    under way, `at_once` when a second signal asks to end without all this, and `ready` with the address when the
    service answers. Raises StartupError.
    """
    _allow_open_files()
    certificate = tls.certificate(settings)
    notifier = Notifier(environment())
    stop = _stop_on_signals(at_once, certificate)
    server_log = logging.getLogger("aiohttp.server")
    server_log.addFilter(_MalformedRequests())
    runner = Runner(
        app,
        gate,
        settings.stop_timeout,
        # aiohttp closes by it also what has never sent a whole head, however slowly it goes on.
        keepalive_timeout=settings.idle_timeout,
        access_log=None,
        logger=server_log,
    )
    sock = _listen(settings.host, settings.port)
    try:
        await runner.setup()
        context = None if certificate is None else certificate.context
        await web.SockSite(runner, sock, backlog=_BACKLOG, ssl_context=context).start()
        host, port = sock.getsockname()[:2]
        log.info("bind", transport="tcp" if context is None else "tls", host=host, port=port)
        notifier.ready()
        if ready is not None:
            await ready(host, port)
        reason = await stop
        notifier.stopping()
        stopping()
        log.info("stop", reason=reason)
        for site in tuple(runner.sites):
            await site.stop()
        if finish is not None:
            # Before aiohttp's own end, which throws away what still comes of a body.
            await finish(settings.stop_timeout)
    finally:
        try:
            await (runner.cleanup() if runner.server is not None else app.cleanup())
        finally:
            notifier.close()
            sock.close()


def _stop_on_signals(at_once: Callable[[], None], certificate: tls.Certificate | None) -> asyncio.Future[str]:
    """Return what will be the reason to stop."""
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[str] = loop.create_future()
    # To a program on a terminal SIGHUP says that the terminal has closed; to one without, or one that `nohup` has
    # told to outlive it, only a person or an init system can send it, and means what it means to daemons.
    attached = pid1.on_terminal() and signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN

    def receive(number: signal.Signals) -> None:
        if stop.done():
            log.warning("stop.forced", reason=number.name)
            at_once()
            os._exit(128 + number)
        stop.set_result(number.name)

    def hang_up() -> None:
        if not attached:
            _reload(certificate)
        elif not stop.done():  # both the terminal and its shell may send it: that is no second wish
            stop.set_result(signal.SIGHUP.name)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, receive, number)
    loop.add_signal_handler(signal.SIGHUP, hang_up)
    return stop


def _reload(certificate: tls.Certificate | None) -> None:
    """Read again what can change while the service runs."""
    if certificate is None:
        return
    try:
        certificate.reload()
    except SettingsError as error:
        log.error("tls.refused", reason=str(error))
    else:
        log.info("tls.reloaded", cert=str(certificate.cert))


def _allow_open_files() -> None:
    """Allow as many connections and programs as the system lets us; the usual limit of 1,024 files is soon reached."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _OPEN_FILES if hard == resource.RLIM_INFINITY else min(hard, _OPEN_FILES)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        with suppress(OSError, ValueError):  # some systems allow less than they say
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; bound before anything is started, so that a taken port is known at once."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        sock = socket.socket(family, kind, protocol)
    except (OSError, ValueError) as error:
        said = error.strerror if isinstance(error, OSError) else "this is no name of a host"
        raise StartupError(f"cannot listen on {host}: {said}") from None
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        sock.bind(address)
    except OSError as error:
        sock.close()
        raise StartupError(
            f"cannot listen on {host} port {port}: {error.strerror}. Choose another with --port, or --port 0."
        ) from None
    return sock
