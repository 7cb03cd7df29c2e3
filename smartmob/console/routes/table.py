"""The routes of the console: pages, what they load, what they ask for, and one WebSocket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from smartmob.commands.routes.line_sink import Line
from smartmob.console import model
from smartmob.console.live import Live
from smartmob.console.peers import Peers
from smartmob.console.routes.data import Data, PeerList, TimelineQuery
from smartmob.console.routes.views import Views
from smartmob.console.service import ConsoleService
from smartmob.kernel.features import Dependencies
from smartmob.kernel.http.routing import HTML, JSON, NDJSON, Answer, Body, Route, RouteTable, answer

_PAGE = answer(str, "A page.", HTML)
_NONE = Answer("There is no such thing.")


def table(service: ConsoleService, live: Live, peers: Peers, dependencies: Dependencies) -> RouteTable:
    """Return the routes."""
    data = Data(service, live, peers, dependencies)
    return RouteTable("console", (*_pages(Views(service, live, dependencies.tokens)), *_data(data)))


def _pages(v: Views) -> Iterator[Route]:
    yield Route("GET", "/console", v.enter, "console", "Go to the first page.", {303: Answer("Go on at Location.")})
    for path, handler, name, summary in (
        ("/console/", v.overview, "console_overview", "The page of the lab at a glance."),
        ("/console/timeline", v.timeline, "console_timeline", "The page of everything on one time axis."),
        ("/console/tests", v.tests, "console_tests", "The page of test runs."),
        ("/console/tests/items", v.item, "console_item", "The page of a test and its history."),
        ("/console/processes", v.processes, "console_processes", "The page of programs."),
        ("/console/commands", v.commands, "console_commands", "The page of commands and jobs."),
        ("/console/load", v.load, "console_load", "The page of load tests."),
        ("/console/hosts", v.hosts, "console_hosts", "The page of machines."),
    ):
        yield Route("GET", path, handler, name, summary, {200: _PAGE})
    for path, handler, name, summary in (
        ("/console/tests/runs/{id}", v.test_run, "console_test_run", "The page of a test run."),
        ("/console/processes/{slug}", v.process, "console_process", "The page of a program with its output."),
        ("/console/commands/{id}", v.job, "console_job", "The page of a job with its output."),
        ("/console/load/{id}", v.load_run, "console_load_run", "The page of a load test."),
        ("/console/hosts/{name}", v.host, "console_host", "The page of a machine."),
    ):
        yield Route("GET", path, handler, name, summary, {200: _PAGE, 404: _NONE})
    yield Route(
        *("GET", "/console/static/{digest}/{name}", v.file, "console_file", "A file that the pages load."),
        {200: Answer("The file; it never changes."), 404: _NONE},
        public=True,
    )


def _data(d: Data) -> Iterator[Route]:
    yield Route(
        *("GET", "/console/data/overview", d.overview, "console_overview_data", "What the first page shows."),
        {200: answer(model.Overview)},
    )
    yield Route(
        *("GET", "/console/data/timeline", d.timeline, "console_timeline_data", "Everything that is known of a span."),
        {200: answer(model.Timeline)},
        query=TimelineQuery,
    )
    yield Route(
        *("GET", "/console/live", d.live, "console_live", "A WebSocket: the lab as it is, each second."),
        {
            101: answer(model.Now, "Each message is such a frame."),
            426: Answer("The request asks for no WebSocket."),
        },
    )
    yield Route(
        *("GET", "/console/peers", d.peers, "console_peers", "The other machines on which the console runs commands."),
        {200: answer(PeerList)},
    )
    yield Route(
        *("POST", "/console/peers/{number}/commands/{name}", d.peer_call, "console_peer_command"),
        "Run a command on another machine: the same as its own POST /commands/{name}.",
        {200: answer(Line, "One line for each thing that the command says.", NDJSON), 404: _NONE},
        Body({JSON: dict[str, Any] | list[Any]}, required=False),
    )
