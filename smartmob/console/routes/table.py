"""The routes of the console: pages, their static files and documents, and one WebSocket."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from smartmob.commands.routes.line_sink import Line
from smartmob.console import model
from smartmob.console.live import Live
from smartmob.console.peers import RemoteServices
from smartmob.console.routes.data import DataHandlers, LoadCharts, PeerList, RecentQuery, TimelineQuery
from smartmob.console.routes.views import (
    ItemPageQuery,
    LoadComparisonPageQuery,
    PageHandlers,
    SearchQuery,
    TestsPageQuery,
    TimelinePageQuery,
)
from smartmob.console.service import ConsoleService
from smartmob.console.usage import Usage, UsageRecorder
from smartmob.kernel.features import Dependencies
from smartmob.kernel.http.routing import HTML, JSON, NDJSON, Answer, Body, Route, RouteTable, answer
from smartmob.metrics.verdict.recent_values import RecentReport

_PAGE = answer(str, "A page.", HTML)
_NOT_FOUND = Answer("Not found.")
_NO_PAGE = Answer(
    "Not found: a page for browsers, a problem for others.", {HTML: str, "application/problem+json": dict[str, Any]}
)
_PAGE_QUERIES = {
    "/console/timeline": TimelinePageQuery,
    "/console/tests": TestsPageQuery,
    "/console/tests/items": ItemPageQuery,
    "/console/load-comparison": LoadComparisonPageQuery,
    "/console/search": SearchQuery,
}
"""The query arguments of pages, which are mostly read by the scripts of the pages."""


def table(
    service: ConsoleService, live: Live, peers: RemoteServices, usage: UsageRecorder, dependencies: Dependencies
) -> RouteTable:
    """Return the routes of the console."""
    pages = PageHandlers(service, live, dependencies.tokens)
    data = DataHandlers(service, live, peers, usage, dependencies)
    missing = Route(
        "GET",
        "/console/{page:.+}",
        pages.or_missing(pages.missing),
        "console_missing",
        "The page of an unknown address.",
        {404: _NO_PAGE},
    )
    return RouteTable("console", (*_pages(pages), *_documents(data), *_data(data), missing))


def _pages(h: PageHandlers) -> Iterator[Route]:
    yield Route(
        "GET",
        "/console",
        h.enter,
        "console",
        "Redirect to the overview page.",
        {303: Answer("Redirect to Location.")},
    )
    for path, handler, name, summary in (
        ("/console/", h.overview, "console_overview", "The overview page."),
        ("/console/timeline", h.timeline, "console_timeline", "The page of all features on one time axis."),
        ("/console/tests", h.tests, "console_tests", "The page of test runs."),
        ("/console/tests/items", h.item, "console_item", "The page of a test and its history."),
        ("/console/experiments", h.experiments, "console_experiments", "The page of stored experiments."),
        ("/console/processes", h.processes, "console_processes", "The page of programs."),
        ("/console/commands", h.commands, "console_commands", "The page of commands and jobs."),
        ("/console/load", h.load, "console_load", "The page of load tests."),
        (
            "/console/load-comparison",
            h.load_comparison,
            "console_load_comparison",
            "The page of load tests side by side.",
        ),
        ("/console/hosts", h.hosts, "console_hosts", "The page of machines."),
        ("/console/alerts", h.alerts, "console_alerts", "The page of alerts."),
        ("/console/search", h.search, "console_search", "The page of the search over all features."),
    ):
        yield Route("GET", path, handler, name, summary, {200: _PAGE}, query=_PAGE_QUERIES.get(path))
    for path, handler, name, summary in (
        ("/console/tests/runs/{id}", h.test_run, "console_test_run", "The page of a test run."),
        ("/console/experiments/{id}", h.experiment, "console_experiment", "The page of an experiment."),
        ("/console/processes/{slug}", h.process, "console_process", "The page of a program with its output."),
        ("/console/commands/{id}", h.job, "console_job", "The page of a job with its output."),
        ("/console/load/{id}", h.load_run, "console_load_run", "The page of a load test."),
        ("/console/hosts/{name}", h.host, "console_host", "The page of a machine."),
        (
            "/console/hosts/{name}/processes/{slug}",
            h.node_process,
            "console_node_process",
            "The page of a program of a node with its output.",
        ),
        (
            "/console/hosts/{name}/jobs/{id}",
            h.node_job,
            "console_node_job",
            "The page of a job of a node with its output.",
        ),
    ):
        yield Route("GET", path, h.or_missing(handler), name, summary, {200: _PAGE, 404: _NO_PAGE})
    yield Route(
        "GET",
        "/console/static/{digest}/{name}",
        h.file,
        "console_file",
        "A static file of the pages.",
        {200: Answer("The file; it never changes."), 404: _NOT_FOUND},
        public=True,
    )


def _documents(h: DataHandlers) -> Iterator[Route]:
    yield Route(
        "GET",
        "/console/data/overview",
        h.overview,
        "console_overview_data",
        "The document of the overview page.",
        {200: answer(model.Overview)},
    )
    yield Route(
        "GET",
        "/console/data/timeline",
        h.timeline,
        "console_timeline_data",
        "All data of a time span.",
        {200: answer(model.Timeline)},
        query=TimelineQuery,
    )
    yield Route(
        "GET",
        "/console/data/search",
        h.search,
        "console_search_data",
        "Tests, runs, programs, jobs, load tests and machines whose name has a text.",
        {200: answer(model.SearchResults)},
        query=SearchQuery,
    )
    yield Route(
        "GET",
        "/console/data/tests",
        h.recent,
        "console_tests_data",
        "The values of the tests of a run, and of the runs before it on the same machine.",
        {200: answer(RecentReport), 404: _NOT_FOUND},
        query=RecentQuery,
    )
    yield Route(
        "GET",
        "/console/data/processes",
        h.usage,
        "console_processes_data",
        "The processor and memory use of the programs in the last minutes.",
        {200: answer(Usage)},
    )
    yield Route(
        "GET",
        "/console/data/node-jobs",
        h.node_jobs,
        "console_node_jobs_data",
        "The newest jobs of all nodes, newest first.",
        {200: answer(model.NodeJobs)},
    )
    yield Route(
        "GET",
        "/console/data/load/{id}",
        h.load_charts,
        "console_load_data",
        "The charts of the report of a load test.",
        {200: answer(LoadCharts), 404: _NOT_FOUND},
    )


def _data(h: DataHandlers) -> Iterator[Route]:
    yield Route(
        "GET",
        "/console/live",
        h.live,
        "console_live",
        "A WebSocket: the current state of the lab, once a second.",
        {
            101: answer(model.LabState, "Each message is such a frame."),
            426: Answer("The request is not a WebSocket upgrade."),
        },
    )
    yield Route(
        "GET",
        "/console/peers",
        h.peers,
        "console_peers",
        "The other machines on which the console can run commands.",
        {200: answer(PeerList)},
    )
    yield Route(
        "POST",
        "/console/peers/{number}/commands/{name}",
        h.peer_call,
        "console_peer_command",
        "Run a command on another machine, like its own POST /commands/{name}.",
        {200: answer(Line, "One line for each message of the command.", NDJSON), 404: _NOT_FOUND},
        Body({JSON: dict[str, Any] | list[Any]}, required=False),
    )
