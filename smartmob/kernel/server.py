"""Runs an application: listens, says so, stops on a signal, and finishes first what it has accepted."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import structlog
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError

from smartmob.errors import StartupError
from smartmob.kernel.web import Entrance, why_malformed
from smartmob.settings import Settings

log = structlog.get_logger()

_BACKLOG = 1024


class _MalformedRequests(logging.Filter):
    """Turns what aiohttp says of a body that is no HTTP, with a traceback, into one line: it is not our error."""

    def filter(self, record: logging.LogRecord) -> bool:
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, HttpProcessingError):
            log.info("http.malformed", reason=why_malformed(error))
            return False
        return True


class _Connection(web.RequestHandler):
    """A connection whose malformed requests are answered like all others; aiohttp's own answer is plain text."""

    __slots__ = ("_entrance",)

    def __init__(self, server: _Server, entrance: Entrance, **options: Any) -> None:
        super().__init__(server, **options)
        self._entrance = entrance

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


class _Server(web.Server):
    """Makes the connections."""

    def __init__(self, made: web.Server, entrance: Entrance, options: dict[str, Any]) -> None:
        super().__init__(made.request_handler, request_factory=made.request_factory)
        self._entrance = entrance
        self._options = options

    def __call__(self) -> web.RequestHandler:
        return _Connection(self, self._entrance, loop=asyncio.get_running_loop(), **self._options)


class _Runner(web.AppRunner):
    """Runs an application on connections of ours."""

    def __init__(self, app: web.Application, entrance: Entrance, shutdown_timeout: float, **options: Any) -> None:
        super().__init__(app, shutdown_timeout=shutdown_timeout)
        self._entrance = entrance
        self._options = options

    async def _make_server(self) -> web.Server:
        return _Server(await super()._make_server(), self._entrance, self._options)


async def serve(
    app: web.Application,
    entrance: Entrance,
    settings: Settings,
    *,
    stopping: Callable[[], None],
    at_once: Callable[[], None],
    finish: Callable[[float], Awaitable[None]] | None = None,
    ready: Callable[[str, int], Awaitable[None]] | None = None,
) -> None:
    """Serve `app` behind its `entrance` until SIGINT or SIGTERM, then stop in order.

    `stopping` is called when the stop begins, `finish` (with the seconds that it may take) to wait for the requests
    under way, `at_once` when a second signal asks to end without all this, and `ready` with the address when the
    service answers. Raises StartupError.
    """
    stop = _stop_on_signals(at_once)
    server_log = logging.getLogger("aiohttp.server")
    server_log.addFilter(_MalformedRequests())
    runner = _Runner(
        app,
        entrance,
        settings.stop_timeout,
        # aiohttp closes by it also what has never sent a whole head, however slowly it goes on.
        keepalive_timeout=settings.idle_timeout,
        access_log=None,
        logger=server_log,
    )
    sock = _listen(settings.host, settings.port)
    try:
        await runner.setup()
        await web.SockSite(runner, sock, backlog=_BACKLOG).start()
        host, port = sock.getsockname()[:2]
        log.info("bind", transport="tcp", host=host, port=port)
        if ready is not None:
            await ready(host, port)
        reason = await stop
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
            sock.close()


def _stop_on_signals(at_once: Callable[[], None]) -> asyncio.Future[str]:
    loop = asyncio.get_running_loop()
    stop: asyncio.Future[str] = loop.create_future()

    def receive(number: signal.Signals) -> None:
        if stop.done():
            log.warning("stop.forced", reason=number.name)
            at_once()
            os._exit(128 + number)
        stop.set_result(number.name)

    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, receive, number)
    return stop


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
