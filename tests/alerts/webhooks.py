"""A receiver of webhooks for the tests."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import orjson
from aiohttp import web
from aiohttp.test_utils import TestServer


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


@asynccontextmanager
async def listening() -> AsyncIterator[Webhook]:
    """Give a receiver of webhooks that is listening on loopback."""
    webhook = Webhook()
    app = web.Application()
    app.router.add_post("/{path:.*}", webhook.handle)
    async with TestServer(app, host="127.0.0.1") as server:
        webhook.url = str(server.make_url("/hook/secret-path"))
        yield webhook
