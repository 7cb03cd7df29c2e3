"""The routes of the feature `hosts`: those of seed 001, and our own below /hosts."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec.structs import replace

from smartmob.hosts import model, time_series
from smartmob.hosts.routes import history, monitor, reporting
from smartmob.hosts.routes.echo import EchoRoute
from smartmob.hosts.routes.history import Histories
from smartmob.hosts.routes.monitor import MonitorHandlers
from smartmob.hosts.routes.reporting import FORM, Reporting
from smartmob.hosts.sampler.sampler import Sampler
from smartmob.hosts.service import HostsService
from smartmob.kernel.auth.authenticator import TokenAuthenticator
from smartmob.kernel.http.bodies import BodyReader
from smartmob.kernel.http.routing import CSV, JSON, NDJSON, Answer, Body, Handler, Route, RouteTable, answer
from smartmob.settings import Settings

_CREDENTIALS_BYTES = 16 * 1024
_SAMPLE_BYTES = 256 * 1024
_NOT_FOUND = Answer("There is no machine of this name.")


def table(
    service: HostsService,
    sampler: Sampler,
    echo: EchoRoute,
    bodies: BodyReader,
    tokens: TokenAuthenticator,
    settings: Settings,
) -> RouteTable:
    """Return the routes of the feature. Machines authenticate by client id, so their routes are public."""
    reports = Reporting(service, bodies, tokens, settings.registration)
    socket = Route(
        "GET",
        "/echo",
        echo.echo,
        "echo",
        "The WebSocket of the echo protocol.",
        {101: Answer("The session begins."), 426: Answer("The request is not a WebSocket handshake.")},
        public=True,
        in_workers=True,
    )
    monitor_handlers = MonitorHandlers(service, sampler)
    monitors = [
        *_monitor(monitor_handlers, settings.hosts.open_monitor),
        *_about(monitor_handlers, settings.hosts.open_monitor),
    ]
    answered = [replace(route, in_workers=True) for route in _reporting(reports)]
    histories = [replace(route, in_workers=route.method == "GET") for route in _history(Histories(service))]
    routes = (*answered, *monitors, *histories, socket)
    return RouteTable("hosts", routes)


def _refusals(*further: int) -> dict[int, Answer]:
    texts = {
        400: "The data is invalid; nothing was stored.",
        401: "The name, the password or the client id is wrong, or registration is closed.",
        429: "Too many wrong credentials came from this address; Retry-After says when to try again.",
        406: "The machine has sent no sample yet.",
    }
    return {status: answer(reporting.Refusal, texts[status]) for status in (401, 429, *further)}


def _reporting(h: Reporting) -> Iterator[Route]:
    handlers = h.handlers
    credentials = Body({JSON: reporting.Credentials, FORM: reporting.Credentials}, limit=_CREDENTIALS_BYTES)
    sample = Body({JSON: reporting.Sample, FORM: reporting.Sample}, limit=_SAMPLE_BYTES)
    registered = {200: answer(reporting.Registered), **_refusals(400)}
    for path, name in (("/client/", "register_host"), ("/client", "register_host_no_slash")):
        summary = "Register a machine, or get its client id."
        yield Route("POST", path, handlers["register"], name, summary, registered, credentials, public=True)
    yield Route(
        "POST",
        "/client/{username}",
        handlers["sample"],
        "send_sample",
        "Store a sample of a machine.",
        {202: answer(dict[str, Any], "The stored values, as numbers."), **_refusals(400)},
        sample,
        public=True,
    )
    for method in ("GET", "POST"):
        suffix = "" if method == "GET" else "_by_post"
        yield Route(
            method,
            "/client/{username}/time",
            handlers["written_time"],
            f"written_time{suffix}",
            "The times of the first and the last sample.",
            {200: answer(reporting.WrittenTime), **_refusals(400, 406)},
            public=True,
        )
        yield Route(
            method,
            "/client/{username}/time/report",
            handlers["report"],
            f"report{suffix}",
            "The samples of a span, both ends included.",
            {200: answer(reporting.SampleReport), **_refusals(400)},
            query=reporting.SpanQuery,
            public=True,
        )


def _monitor(h: MonitorHandlers, public: bool) -> Iterator[Route]:
    routes: tuple[tuple[str, Handler, str, type, type | None], ...] = (
        ("cpu/load", h.cpu_load, "The load of the processors.", monitor.Load, None),
        ("cpu/info", h.cpu_info, "The processors.", monitor.Processors, None),
        ("memory/info", h.memory_info, "The memory.", monitor.MemoryInfo, monitor.UnitsQuery),
        ("memory/total", h.memory_total, "The size of the memory.", monitor.MemoryTotal, monitor.UnitsQuery),
        ("storage/info", h.storage_info, "The disk.", monitor.StorageInfo, monitor.UnitsQuery),
        ("storage/total", h.storage_total, "The size of the disk.", monitor.StorageTotal, monitor.UnitsQuery),
    )
    for prefix, group in (("/monitor", "monitor"), ("/api/monitor", "api_monitor")):
        for path, handler, summary, kind, parameters in routes:
            name = f"{group}_{path.replace('/', '_')}"
            answers = {200: answer(kind)}
            yield Route("GET", f"{prefix}/{path}", handler, name, summary, answers, query=parameters, public=public)


def _about(h: MonitorHandlers, public: bool) -> Iterator[Route]:
    about = {200: answer(monitor.About)}
    yield Route("GET", "/api/", h.about, "api", "The name and version of the service.", about, public=public)
    yield Route("GET", "/api", h.about, "api_no_slash", "The name and version of the service.", about, public=public)
    since = {200: answer(monitor.WorkTimeMessage)}
    yield Route("GET", "/api/start_time", h.start_time, "start_time", "The start of the service.", since, public=public)


def _history(h: Histories) -> Iterator[Route]:
    listed = {200: answer(history.HostList)}
    for path, name in (("/hosts/", "hosts"), ("/hosts", "hosts_no_slash")):
        yield Route("GET", path, h.hosts, name, "All machines.", listed, query=history.HostsQuery)
    yield Route(
        "GET",
        "/hosts/{name}",
        h.host,
        "host",
        "A machine with its newest sample.",
        {200: answer(model.Host), 404: _NOT_FOUND},
    )
    yield Route(
        "DELETE",
        "/hosts/{name}",
        h.remove,
        "remove_host",
        "Remove a machine with its samples.",
        {200: answer(history.Removed), 404: _NOT_FOUND},
    )
    yield Route(
        "GET",
        "/hosts/{name}/samples",
        h.samples,
        "host_samples",
        "The load of a machine in a span.",
        {
            200: Answer("The points.", {JSON: history.HostHistory, NDJSON: time_series.Point, CSV: str}),
            404: _NOT_FOUND,
        },
        query=history.SamplesQuery,
    )
