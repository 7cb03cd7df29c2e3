"""The routes of the feature `turrets`: load tests as resources, and the turrets that the headquarters hears."""

from __future__ import annotations

from smartmob.kernel.auth.model import CONTROL
from smartmob.kernel.http.bodies import BodyReader
from smartmob.kernel.http.connection_limit import ConnectionLimit
from smartmob.kernel.http.routing import CSV, HTML, JSON, NDJSON, Answer, Body, Route, RouteTable, answer
from smartmob.turrets import model
from smartmob.turrets.protocol import Result
from smartmob.turrets.routes.handlers import GZIP, TAR, Handlers, ReportQuery, RunsQuery
from smartmob.turrets.service import TurretsService

_NONE = Answer("There is no such run.")


def table(service: TurretsService, bodies: BodyReader, viewers: ConnectionLimit) -> RouteTable:
    """Return the routes of the feature."""
    h = Handlers(service, bodies, viewers)
    details, summary = answer(model.RunDetails), answer(model.Summary)
    conflict = Answer("A run is on, or the service is no headquarters.")
    on, off = Answer("The run is on."), Answer("It is removed.")
    one = "/turret-runs/{id}"
    return RouteTable(
        "turrets",
        (
            Route(
                *("POST", "/turret-runs", h.fire, "fire", "Begin a run: a project's configuration, or its package."),
                {201: details, 409: conflict},
                Body({JSON: model.RunConfig, GZIP: bytes, TAR: bytes}),
            ),
            Route(
                *("GET", "/turret-runs", h.runs, "turret_runs", "Runs, newest first."),
                {200: answer(model.RunList)},
                query=RunsQuery,
            ),
            Route("GET", one, h.run, "turret_run", "A run with its turrets.", {200: details, 404: _NONE}),
            Route("DELETE", one, h.delete, "delete_turret_run", "Remove a run.", {204: off, 404: _NONE, 409: on}),
            Route("POST", f"{one}/stop", h.stop, "stop_turret_run", "End a run.", {200: details, 404: _NONE}),
            Route(
                *("POST", f"{one}/rebuild", h.rebuild, "rebuild_turret_run", "Make the figures of a run anew."),
                {200: summary, 404: _NONE, 409: on},
            ),
            Route(
                *("GET", f"{one}/results", h.results, "turret_results", "The results that came one by one."),
                {200: Answer("The results, by Accept.", {NDJSON: Result, CSV: str}), 404: _NONE},
            ),
            Route(
                *("GET", f"{one}/summary", h.summary, "turret_summary", "The figures of a run."),
                {200: summary, 404: _NONE},
            ),
            Route(
                *("GET", f"{one}/course", h.course, "turret_course", "How the transactions of a run did over time."),
                {200: answer(model.Course), 404: _NONE},
            ),
            *_shown(h, one),
            Route(
                *("GET", "/turrets", h.turrets, "turrets", "The turrets that were heard lately."),
                {200: answer(model.TurretList)},
            ),
        ),
    )


def _shown(h: Handlers, one: str) -> tuple[Route, ...]:
    """Return the routes that show a run to people."""
    return (
        Route(
            *("GET", f"{one}/report", h.report, "turret_report", "The report of a run, or of two, as one page."),
            {200: answer(str, "The page.", HTML), 404: _NONE},
            query=ReportQuery,
        ),
        Route(
            *("GET", f"{one}/package", h.package, "turret_package", "The package that a run came with."),
            {200: answer(bytes, "The package.", GZIP), 404: _NONE},
            roles=(CONTROL,),  # a script may hold what it signs in with
        ),
        Route(
            *("GET", f"{one}/live", h.live, "turret_live", "A WebSocket: one frame a second while a run is on."),
            {
                101: answer(model.LiveFrame, "Each message is such a frame."),
                404: _NONE,
                426: Answer("The request asks for no WebSocket."),
            },
        ),
    )
