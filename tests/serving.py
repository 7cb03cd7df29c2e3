"""A server within a test that has the connections of the real server."""

from __future__ import annotations

from typing import Any
from unittest.mock import patch

from aiohttp import web
from aiohttp.test_utils import TestServer

from smartmob import app
from smartmob.kernel.db.database import Database
from smartmob.kernel.http.gate import RequestGate
from smartmob.kernel.http.server import Runner
from smartmob.settings import Settings

_STOP_SECONDS = 800.0


def built_with_database(settings: Settings) -> tuple[app.Service, Database]:
    """Return a service and its database, whose patience a test shortens when it cuts the database off."""
    made: list[Database] = []

    def make(*arguments: Any) -> Database:
        made.append(Database(*arguments))
        return made[-1]

    with patch.object(app, "Database", make):
        service = app.build(settings)
    return service, made[0]


class ServiceServer(TestServer):
    """Serves an application behind its request gate on loopback."""

    def __init__(self, app: web.Application, gate: RequestGate, **options: Any) -> None:
        super().__init__(app, host="127.0.0.1", **options)
        self._gate = gate

    async def _make_runner(self, **_: Any) -> web.AppRunner:
        return Runner(self.app, self._gate, _STOP_SECONDS)
