"""The routes of the feature `turrets`: load tests as resources, and the turrets that the headquarters hears."""

from __future__ import annotations

from smartmob.kernel.auth.model import CONTROL, INGEST
from smartmob.kernel.http.bodies import BodyReader
from smartmob.kernel.http.connection_limit import ConnectionLimit
from smartmob.kernel.http.routing import CSV, HTML, JSON, NDJSON, Answer, Body, Route, RouteTable, answer
from smartmob.turrets import model
from smartmob.turrets.capacity.model import SearchList, SearchRequest, StoredSearch
from smartmob.turrets.protocol import Result
from smartmob.turrets.report.run_comparison import RunComparison
from smartmob.turrets.result_files.imported_run import ImportedRun, ImportLine
from smartmob.turrets.routes.handlers import (
    GZIP,
    TAR,
    ComparisonQuery,
    FireQuery,
    Handlers,
    LoadTestsQuery,
    ReportQuery,
    StatisticsQuery,
)
from smartmob.turrets.routes.search_handlers import SVG, ChartQuery, SearchesQuery, SearchHandlers
from smartmob.turrets.service.firing import TurretsService

_NOT_FOUND = Answer("There is no such run.")
_RUN = "/turret-runs/{id}"


def table(service: TurretsService, bodies: BodyReader, viewers: ConnectionLimit) -> RouteTable:
    """Return the routes of the feature."""
    h = Handlers(service, bodies, viewers)
    searches = SearchHandlers(service.searches, bodies)
    return RouteTable("turrets", (*_firing(h), *_results(h), *_views(h), *_searches(searches)))


def _firing(h: Handlers) -> tuple[Route, ...]:
    """Return the routes that start, list and end runs."""
    details = answer(model.RunDetails)
    conflict = Answer("A run is active, or the service is not a headquarters.")
    active, removed = Answer("The run is active."), Answer("It is removed.")
    return (
        Route(
            "POST",
            "/turret-runs",
            h.fire,
            "fire",
            "Begin a run: a project's configuration, or its package.",
            {201: details, 409: conflict},
            Body({JSON: model.RunConfig, GZIP: bytes, TAR: bytes}),
            query=FireQuery,
            starts_work=True,
        ),
        Route(
            "GET",
            "/turret-runs",
            h.runs,
            "turret_runs",
            "List runs, newest first.",
            {200: answer(model.RunList)},
            query=LoadTestsQuery,
        ),
        Route(
            "POST",
            "/turret-runs/imports",
            h.import_run,
            "import_turret_run",
            "Store the results of another load testing tool as a run.",
            {200: answer(ImportedRun, "It is stored already."), 201: answer(ImportedRun)},
            Body({JSON: list[ImportLine], NDJSON: ImportLine}),
            roles=(INGEST, CONTROL),
        ),
        Route("GET", _RUN, h.run, "turret_run", "A run with its turrets.", {200: details, 404: _NOT_FOUND}),
        Route(
            "DELETE",
            _RUN,
            h.delete,
            "delete_turret_run",
            "Remove a run.",
            {204: removed, 404: _NOT_FOUND, 409: active},
        ),
        Route("POST", f"{_RUN}/stop", h.stop, "stop_turret_run", "Stop a run.", {200: details, 404: _NOT_FOUND}),
        Route(
            "POST",
            f"{_RUN}/rebuild",
            h.rebuild,
            "rebuild_turret_run",
            "Compute the statistics of a run again.",
            {200: answer(model.Summary), 404: _NOT_FOUND, 409: active},
        ),
    )


def _searches(h: SearchHandlers) -> tuple[Route, ...]:
    """Return the routes of capacity searches."""
    path, one = "/capacity-searches", "/capacity-searches/{id}"
    missing, body = Answer("There is no such search."), Body({JSON: SearchRequest})
    found = {200: answer(StoredSearch), 404: missing}
    return (
        Route("POST", path, h.create, "store_search", "Store a search.", {201: answer(StoredSearch)}, body),
        Route(
            "GET",
            path,
            h.searches,
            "searches",
            "The newest searches for a capacity, without their steps.",
            {200: answer(SearchList)},
            query=SearchesQuery,
        ),
        Route("GET", one, h.search, "search", "A search for a capacity.", found),
        Route("PUT", one, h.replace, "replace_search", "Replace a search by its newer state.", found, body),
        Route(
            "DELETE",
            one,
            h.delete,
            "delete_search",
            "Remove a search; its runs stay.",
            {204: Answer("It is removed."), 404: missing},
        ),
        Route(
            "GET",
            f"{one}/report",
            h.report,
            "search_report",
            "The report of a search as a page.",
            {200: answer(str, "The page.", HTML), 404: missing},
        ),
        Route(
            "GET",
            f"{one}/chart",
            h.chart,
            "search_chart",
            "Latency and errors of a search by rate.",
            {200: answer(str, "The chart.", SVG), 404: missing},
            query=ChartQuery,
        ),
    )


def _results(h: Handlers) -> tuple[Route, ...]:
    """Return the routes that read the results of a run as data."""
    return (
        Route(
            "GET",
            f"{_RUN}/results",
            h.results,
            "turret_results",
            "The single results of a run.",
            {200: Answer("The results, by Accept.", {NDJSON: Result, CSV: str}), 404: _NOT_FOUND},
        ),
        Route(
            "GET",
            f"{_RUN}/summary",
            h.summary,
            "turret_summary",
            "The statistics of a run.",
            {200: answer(model.Summary), 404: _NOT_FOUND},
            query=StatisticsQuery,
        ),
        Route(
            "GET",
            f"{_RUN}/timers",
            h.timers,
            "turret_timers",
            "The statistics of all timers of a run.",
            {
                200: answer(str, "A row for each timer; durations in seconds, those of failures last.", CSV),
                404: _NOT_FOUND,
            },
            query=StatisticsQuery,
        ),
        Route(
            "GET",
            f"{_RUN}/errors",
            h.errors,
            "turret_errors",
            "All different errors of a run, by timer, with kind and code.",
            {200: answer(str, "A row for each text of each timer, the most frequent first.", CSV), 404: _NOT_FOUND},
            query=StatisticsQuery,
        ),
        Route(
            "GET",
            f"{_RUN}/comparison",
            h.comparison,
            "compare_turret_runs",
            "Compare a run with another one, timer by timer.",
            {200: answer(RunComparison), 404: _NOT_FOUND, 409: Answer("A run has not ended.")},
            query=ComparisonQuery,
        ),
        Route(
            "GET",
            f"{_RUN}/course",
            h.time_series,
            "turret_course",
            "The transactions of a run over time.",
            {200: answer(model.RunTimeSeries), 404: _NOT_FOUND},
        ),
    )


def _views(h: Handlers) -> tuple[Route, ...]:
    """Return the routes that show a run to people, and the list of turrets."""
    return (
        Route(
            "GET",
            f"{_RUN}/report",
            h.report,
            "turret_report",
            "The report of a run, or of two, as one page.",
            {200: answer(str, "The page.", HTML), 404: _NOT_FOUND},
            query=ReportQuery,
        ),
        Route(
            "GET",
            f"{_RUN}/package",
            h.package,
            "turret_package",
            "The package with which a run was requested.",
            {200: answer(bytes, "The package.", GZIP), 404: _NOT_FOUND},
            roles=(CONTROL,),  # a script may contain credentials
        ),
        Route(
            "GET",
            f"{_RUN}/live",
            h.live,
            "turret_live",
            "A WebSocket that sends one frame a second while a run is active.",
            {
                101: answer(model.LiveFrame, "Each message is such a frame."),
                404: _NOT_FOUND,
                426: Answer("The request is not a WebSocket handshake."),
            },
        ),
        Route(
            "GET",
            "/turrets",
            h.turrets,
            "turrets",
            "The turrets that were heard lately.",
            {200: answer(model.TurretList)},
        ),
    )
