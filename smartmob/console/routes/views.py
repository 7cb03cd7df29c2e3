"""Handlers of pages and of the files that they load."""

from __future__ import annotations

import asyncio
from typing import Any

from aiohttp import web

from smartmob.console import assets, pages
from smartmob.console.live import Live
from smartmob.console.service import ConsoleService
from smartmob.errors import NotFound
from smartmob.kernel.auth.authenticator import OWNER, VISITOR, TokenAuthenticator
from smartmob.kernel.http.requests import parameter
from smartmob.kernel.http.routing import HTML

_CHARTS = ("timeline", "item", "load_run", "hosts", "host")
_FOR_EVER = "public, max-age=31536000, immutable"


class Views:
    """Handlers of pages. What a page shows it asks for itself, so these only say which page it is, and of what."""

    def __init__(self, service: ConsoleService, live: Live, tokens: TokenAuthenticator) -> None:
        self._services = service.services
        self._live = live
        self._tokens = tokens

    async def enter(self, _: web.Request) -> web.StreamResponse:
        return web.Response(status=303, headers={"Location": "/console/"})

    async def overview(self, _: web.Request) -> web.StreamResponse:
        return self._page("overview", "Overview", "Overview")

    async def timeline(self, _: web.Request) -> web.StreamResponse:
        return self._page("timeline", "Timeline", "Timeline")

    async def tests(self, _: web.Request) -> web.StreamResponse:
        return self._page("tests", "Tests", "Tests")

    async def test_run(self, request: web.Request) -> web.StreamResponse:
        run = await self._services.metrics.run(parameter(request, "id"))
        return self._page("test_run", "Tests", f"Test run {run.scm_ref[:12] or run.id[:12]}", id=run.id)

    async def item(self, request: web.Request) -> web.StreamResponse:
        return self._page("item", "Tests", request.query.get("variant", "")[:200] or "A test")

    async def processes(self, _: web.Request) -> web.StreamResponse:
        return self._page("processes", "Processes", "Processes")

    async def process(self, request: web.Request) -> web.StreamResponse:
        slug = self._services.processes.process(parameter(request, "slug")).definition.slug
        return self._page("process", "Processes", slug, id=slug)

    async def commands(self, _: web.Request) -> web.StreamResponse:
        return self._page("commands", "Commands", "Commands")

    async def job(self, request: web.Request) -> web.StreamResponse:
        text = parameter(request, "id")
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise NotFound(f"there is no job {text}")
        job = await self._services.commands.job(int(text))
        return self._page("job", "Commands", f"Job {job.id}", id=job.id)

    async def load(self, _: web.Request) -> web.StreamResponse:
        return self._page("load", "Load", "Load tests")

    async def load_run(self, request: web.Request) -> web.StreamResponse:
        run = await self._services.turrets.queries.details(parameter(request, "id"))
        return self._page("load_run", "Load", run.name, id=run.id)

    async def hosts(self, _: web.Request) -> web.StreamResponse:
        return self._page("hosts", "Hosts", "Hosts")

    async def host(self, request: web.Request) -> web.StreamResponse:
        host = await self._services.hosts.host(parameter(request, "name"))
        return self._page("host", "Hosts", host.name, id=host.name)

    async def file(self, request: web.Request) -> web.StreamResponse:
        name = parameter(request, "name")
        found = await asyncio.to_thread(assets.asset, name)
        if found is None or parameter(request, "digest") != assets.digest():
            raise NotFound(f"the pages load no file {name}; load the page anew")
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        headers = {"Cache-Control": _FOR_EVER, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        body = found.packed if packed else found.plain
        return web.Response(body=body, content_type=found.media_type, charset="utf-8", headers=headers)

    def _page(self, template: str, place: str, title: str, **values: Any) -> web.StreamResponse:
        visitor = VISITOR.get() or OWNER
        signed_in = (visitor.token or "the service's own token") if self._tokens.required else None
        seen = {"signed_in": signed_in, "role": visitor.role, "news": self._live.news}
        text = pages.render(f"{template}.html", place, title, **seen, **values)
        headers = pages.headers(charts=template in _CHARTS)
        return web.Response(text=text, content_type=HTML, charset="utf-8", headers=headers)
