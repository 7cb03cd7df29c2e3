"""Handlers of pages and of their static files."""

from __future__ import annotations

import asyncio
from typing import Any
from urllib.parse import quote
from uuid import UUID

import msgspec
from aiohttp import web

from smartmob.console import assets, pages
from smartmob.console.live import Live
from smartmob.console.run_texts import run_name
from smartmob.console.service import ConsoleService
from smartmob.errors import NotFound
from smartmob.kernel.auth.authenticator import OWNER, PRINCIPAL, TokenAuthenticator
from smartmob.kernel.http.bodies import parameter, wants_html
from smartmob.kernel.http.routing import HTML, Handler
from smartmob.nodes.model import SERVICE_PREFIX

_CHART_PAGES = ("timeline", "item", "load_run", "hosts", "host", "experiment")
_IMMUTABLE = "public, max-age=31536000, immutable"


class TimelinePageQuery(msgspec.Struct, frozen=True, rename={"from_": "from"}):
    """The span of the timeline, in seconds since 1970 or as its length in seconds, and the machines that it shows."""

    from_: str = ""
    to: str = ""
    span: str = ""
    machines: str = ""


class TestsPageQuery(msgspec.Struct, frozen=True):
    """The fields of the comparison on the page of test runs."""

    base: str = ""
    head: str = ""
    resource: str = ""


class LoadComparisonPageQuery(msgspec.Struct, frozen=True):
    """The ids of the load tests to compare, separated by commas; the others are compared with the first one."""

    runs: str = ""


class ItemPageQuery(msgspec.Struct, frozen=True):
    """The test to show: by its id, or by its path and variant."""

    id: str = ""
    path: str = ""
    variant: str = ""


class SearchQuery(msgspec.Struct, frozen=True):
    """The text to search for."""

    q: str = ""


class PageHandlers:
    """Handlers of pages. A page loads its documents itself; its HTML only has its title and the id of what it shows."""

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
        run = await self._services.metrics.runs.run(parameter(request, "id"))
        return self._page("test_run", "Tests", f"Run {run_name(run.id, run.scm_ref)}", id=run.id)

    async def item(self, request: web.Request) -> web.StreamResponse:
        return self._page("item", "Tests", request.query.get("variant", "")[:200] or "A test")

    async def experiments(self, _: web.Request) -> web.StreamResponse:
        return self._page("experiments", "Tests", "Experiments")

    async def experiment(self, request: web.Request) -> web.StreamResponse:
        text = parameter(request, "id")
        try:
            found = (await self._services.experiments.details(UUID(text))).summary
        except ValueError:
            raise NotFound(f"there is no experiment {text[:200]}") from None
        return self._page("experiment", "Tests", f"{found.base.given} → {found.head.given}", id=str(found.id))

    async def processes(self, _: web.Request) -> web.StreamResponse:
        return self._page("processes", "Programs", "Programs")

    async def process(self, request: web.Request) -> web.StreamResponse:
        slug = self._services.processes.process(parameter(request, "slug")).definition.slug
        return self._page("process", "Programs", slug, id=slug)

    async def commands(self, _: web.Request) -> web.StreamResponse:
        return self._page("commands", "Jobs", "Jobs")

    async def job(self, request: web.Request) -> web.StreamResponse:
        text = parameter(request, "id")
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise NotFound(f"there is no job {text}")
        job = await self._services.commands.jobs.get(int(text))
        if (other := await self._services.commands.elsewhere(job.id)) is not None:
            name = quote(SERVICE_PREFIX + other, safe="")
            return web.Response(status=303, headers={"Location": f"/console/hosts/{name}/jobs/{job.id}"})
        return self._page("job", "Jobs", f"Job {job.id}", id=job.id)

    async def load(self, _: web.Request) -> web.StreamResponse:
        return self._page("load", "Load", "Load tests")

    async def load_comparison(self, _: web.Request) -> web.StreamResponse:
        return self._page("load_comparison", "Load", "Load tests side by side")

    async def load_run(self, request: web.Request) -> web.StreamResponse:
        run = await self._services.turrets.queries.details(parameter(request, "id"))
        return self._page("load_run", "Load", run.name, id=run.id)

    async def hosts(self, _: web.Request) -> web.StreamResponse:
        return self._page("hosts", "Machines", "Machines")

    async def host(self, request: web.Request) -> web.StreamResponse:
        name, measured = parameter(request, "name"), True
        try:
            await self._services.hosts.queries.host(name)
        except NotFound as error:
            await self._node(name, error)
            measured = False  # a node that has not reported its load yet
        return self._page("host", "Machines", name, id=name, measured=measured)

    async def node_process(self, request: web.Request) -> web.StreamResponse:
        node, slug = parameter(request, "name"), parameter(request, "slug")
        await self._node(node)
        return self._page("process", "Machines", f"{slug} on {node}", id=slug, node=node)

    async def node_job(self, request: web.Request) -> web.StreamResponse:
        node, text = parameter(request, "name"), parameter(request, "id")
        await self._node(node)
        if not (text.isascii() and text.isdigit() and len(text) < 19):
            raise NotFound(f"there is no job {text}")
        return self._page("job", "Machines", f"Job {int(text)} on {node}", id=int(text), node=node)

    async def _node(self, name: str, missing: NotFound | None = None) -> None:
        """Raise NotFound, or the error `missing`, unless a node or another service has this name."""
        try:
            if name.startswith(SERVICE_PREFIX):
                await self._services.nodes.other_service(name)
            else:
                await self._services.nodes.node(name)
        except NotFound as error:
            raise missing or error from None

    async def alerts(self, _: web.Request) -> web.StreamResponse:
        return self._page("alerts", "Alerts", "Alerts")

    async def search(self, _: web.Request) -> web.StreamResponse:
        return self._page("search", "", "Search")

    async def missing(self, request: web.Request) -> web.StreamResponse:
        raise NotFound(f"there is no page {request.path[:200]}")

    def or_missing(self, handler: Handler) -> Handler:
        """Return a handler that answers a browser with a page if the requested item does not exist."""

        async def handle(request: web.Request) -> web.StreamResponse:
            try:
                return await handler(request)
            except NotFound as error:
                if not wants_html(request):
                    raise
                return self._page("missing", "", "Not found", status=404, reason=str(error))

        return handle

    async def file(self, request: web.Request) -> web.StreamResponse:
        name = parameter(request, "name")
        found = await asyncio.to_thread(assets.asset, name)
        if found is None or parameter(request, "digest") != assets.digest():
            raise NotFound(f"there is no file {name}; reload the page")
        packed = "gzip" in request.headers.get("Accept-Encoding", "")
        headers = {"Cache-Control": _IMMUTABLE, "Vary": "Accept-Encoding", "X-Content-Type-Options": "nosniff"}
        if packed:
            headers["Content-Encoding"] = "gzip"
        body = found.packed if packed else await asyncio.to_thread(found.plain)
        return web.Response(body=body, content_type=found.media_type, charset="utf-8", headers=headers)

    def _page(self, template: str, section: str, title: str, *, status: int = 200, **values: Any) -> web.StreamResponse:
        principal = PRINCIPAL.get() or OWNER
        signed_in = (principal.token or "the service's own token") if self._tokens.required else None
        state = {"signed_in": signed_in, "role": principal.role, "news": self._live.change_number}
        text = pages.render(f"{template}.html", section, title, **state, **values)
        headers = pages.headers(charts=template in _CHART_PAGES)
        return web.Response(text=text, status=status, content_type=HTML, charset="utf-8", headers=headers)
