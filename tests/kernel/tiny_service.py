"""The tiny application as a separate process.

It is run by `python -m tests.kernel.tiny_service PORT STOP_TIMEOUT IDLE_TIMEOUT [CERT KEY]`.

It serves through `smartmob.kernel.http.server`, logs to standard output, and prints a line for each event.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import structlog
from aiohttp import web

from smartmob.errors import SmartmobError
from smartmob.kernel.http import server
from smartmob.kernel.observability import log as logging
from smartmob.settings import Settings
from tests.kernel import tiny

log = structlog.get_logger()


def main(port: str, stop_timeout: str, idle_timeout: str, cert: str = "", key: str = "") -> None:
    """Serve until a signal."""
    logs = logging.configure("json", True, "file:///dev/stdout")
    app, handlers, gate = tiny.build(access_log=logs.access)
    settings = Settings(port=int(port), stop_timeout=float(stop_timeout), idle_timeout=float(idle_timeout))
    if cert:
        settings = replace(settings, tls_cert=Path(cert), tls_key=Path(key))

    async def around(_: web.Application) -> AsyncIterator[None]:
        log.info("opened")
        yield
        log.info("closed")

    def force_stop() -> None:
        log.info("at_once")
        logs.close()

    async def drain(seconds: float) -> None:
        log.info("finishing", seconds=seconds, waiting=handlers.waiting)
        await gate.request_stats.drain(seconds)

    async def ready(host: str, port: int) -> None:
        log.info("ready", host=host, port=port)

    app.cleanup_ctx.append(around)
    try:
        asyncio.run(
            server.serve(
                app,
                gate,
                settings,
                on_stop=lambda: log.info("stopping"),
                force_stop=force_stop,
                drain=drain,
                on_ready=ready,
            )
        )
    except SmartmobError as error:
        log.error("refused", said=str(error))
        sys.exit(3)
    finally:
        logs.close()


if __name__ == "__main__":
    main(*sys.argv[1:])
