"""Fixtures of the tests of alerts: a receiver of webhooks, and a store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any

import orjson
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from smartmob.alerts.store import AlertStore
from smartmob.kernel.db.database import Database
from smartmob.settings import DatabaseSettings


@dataclass
class Webhook:
    """A real HTTP server that records what it gets. `answer` makes the answer to each request."""

    requests: list[tuple[dict[str, str], bytes]] = field(default_factory=list)
    answer: Callable[[], Any] = web.Response
    url: str = ""

    @property
    def documents(self) -> list[dict[str, Any]]:
        """Return the JSON documents that arrived."""
        return [orjson.loads(body) for _, body in self.requests]

    @property
    def alerts(self) -> list[tuple[str, str, str]]:
        """Return status, rule and subject of all alerts that arrived."""
        return [(a["status"], a["rule"], a["subject"]) for document in self.documents for a in document["alerts"]]

    async def handle(self, request: web.Request) -> web.StreamResponse:
        """Record a request and answer it."""
        self.requests.append((dict(request.headers), await request.read()))
        response = self.answer()
        if asyncio.iscoroutine(response):
            response = await response
        return response  # type: ignore[no-any-return] # a test gives what it likes


@pytest.fixture(name="webhook")
async def _webhook() -> AsyncIterator[Webhook]:
    """Return a receiver of webhooks that is listening."""
    webhook = Webhook()
    app = web.Application()
    app.router.add_post("/{path:.*}", webhook.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        webhook.url = str(server.make_url("/hook/secret-path"))
        yield webhook


@pytest.fixture(name="database")
async def _database(database_url: str) -> AsyncIterator[Database]:
    """Return an open database."""
    database = Database(DatabaseSettings(url=database_url, patience=2.0), None)
    await database.open()
    yield database
    await database.close()


@pytest.fixture(name="store")
def _store(database: Database) -> AlertStore:
    """Return the store."""
    return AlertStore(database)
