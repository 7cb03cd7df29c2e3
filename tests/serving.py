"""A server within a test that has the connections of the real server."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.test_utils import TestServer

from smartmob.kernel.http.gate import RequestGate
from smartmob.kernel.http.server import Runner

_STOP_SECONDS = 800.0


class ServiceServer(TestServer):
    """Serves an application behind its request gate on loopback."""

    def __init__(self, app: web.Application, gate: RequestGate, **options: Any) -> None:
        super().__init__(app, host="127.0.0.1", **options)
        self._gate = gate

    async def _make_runner(self, **_: Any) -> web.AppRunner:
        return Runner(self.app, self._gate, _STOP_SECONDS)
