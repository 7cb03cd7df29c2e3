"""The routes of the feature `metrics`: those of pytest-monitor's remote server, of its Python client, and our own.

Each answers at the root and below /api/v1. A listing without rows answers 204, as the clients expect; a sub-list of
pipelines, builds or sessions always answers 200.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from msgspec.structs import replace

from smartmob.kernel.auth.model import CONTROL, INGEST, READ
from smartmob.kernel.http.bodies import BodyReader
from smartmob.kernel.http.routing import CSV, JSON, NDJSON, Answer, Body, Handler, Route, RouteTable, answer, body
from smartmob.metrics import model, protocol
from smartmob.metrics.routes.comparison_handlers import ComparisonHandlers
from smartmob.metrics.routes.ingest_handlers import IngestHandlers
from smartmob.metrics.routes.query_handlers import EXTRA_PREFIX, QueryHandlers
from smartmob.metrics.service import MetricsService
from smartmob.metrics.verdict import series, trends, verdicts

_MAX_DESCRIPTION_BYTES = 2 * 1024 * 1024
PREFIXES = ("", "/api/v1")

_PAGE = Body({JSON: protocol.PageBody}, required=False, limit=4096)
"""The page of a listing, which monitor-server-api also sends in the body of a GET request."""

_EMPTY = Answer("The list is empty.")
_NO_PAGE = Answer("There is no such page.")
_METRICS = {
    200: Answer(
        "One page of metrics as JSON, or all of them as NDJSON or CSV, depending on Accept.",
        {JSON: protocol.MetricsPage, NDJSON: model.Metric, CSV: str},
    ),
    204: _EMPTY,
    404: _NO_PAGE,
}


def table(service: MetricsService, bodies: BodyReader) -> RouteTable:
    """Return the routes of the feature."""
    ingest = IngestHandlers(service.ingest, bodies)
    queries = QueryHandlers(service.queries, service.runs, bodies)
    comparisons = ComparisonHandlers(service.comparisons, service.trends)
    routes = (*_ingest(ingest), *_answered_by_workers(_queries(queries)), *_comparisons(comparisons))
    return RouteTable("metrics", routes, PREFIXES, EXTRA_PREFIX)


def _ingest(h: IngestHandlers) -> list[Route]:
    context = body(model.NewContext, limit=_MAX_DESCRIPTION_BYTES)
    session = body(model.NewSession, limit=_MAX_DESCRIPTION_BYTES)
    metrics = Body({JSON: model.NewMetric | list[model.NewMetric], NDJSON: model.NewMetric})
    imported = Body({JSON: model.ImportedMetric | list[model.ImportedMetric], NDJSON: model.ImportedMetric})
    stored = answer((model.Metric, protocol.Count), "The metric, or the number of stored metrics.")
    many = "Store a metric, or many: all or none of them."
    append = "Append metrics from a file to the `offset` ones that the session has: all or none of them."
    appended = {201: answer(protocol.Count), 409: Answer("The session has another number of metrics.")}
    deleted = {200: answer(protocol.Deleted), 404: Answer("There is no such session.")}
    path, remove = "/sessions/{h}/metrics", "Delete a session with its metrics."
    changed = {200: answer(model.Session), 404: Answer("There is no such session.")}
    change = "Change tags (null removes one) and the commit of a session, and so its run."
    new = body(model.SessionChange, limit=_MAX_DESCRIPTION_BYTES)
    posts = [
        *_posts("/contexts", h.create_context, "create_context", "Store a context.", answer(model.Context), context),
        *_posts("/sessions", h.create_session, "create_session", "Store a session.", answer(model.Session), session),
        *_posts("/metrics", h.create_metrics, "create_metric", many, stored, metrics),
        Route("POST", path, h.append_metrics, "append_metrics", append, appended, imported, protocol.AppendQuery),
    ]
    return [
        *(replace(route, roles=(INGEST, CONTROL), in_workers=True) for route in posts),
        Route("PATCH", "/sessions/{h}", h.change_session, "change_session", change, changed, new),
        Route("DELETE", "/sessions/{h}", h.delete_session, "delete_session", remove, deleted),
    ]


def _answered_by_workers(routes: Iterable[Route]) -> list[Route]:
    """Return the routes as ones that any worker answers: they need no verdicts, which only the owner caches."""
    return [replace(route, in_workers=True) for route in routes]


def _posts(path: str, handler: Handler, name: str, summary: str, stored: Answer, kind: Body) -> list[Route]:
    """Return a route with and without a trailing slash; neither redirects to the other."""
    return [
        Route("POST", path + "/", handler, name, summary, {201: stored}, kind),
        Route("POST", path, handler, f"{name}_no_slash", summary, {201: stored}, kind),
    ]


def _asked_by_suites(routes: Iterable[Route]) -> list[Route]:
    """Return the routes with the roles of a test suite added: the plugin calls them before it sends data."""
    return [replace(route, roles=(READ, INGEST, CONTROL)) for route in routes]


def _asked_by_imports(routes: Iterable[Route]) -> list[Route]:
    """Return the routes; those of counts also allow the roles of a test suite: an import asks where to continue."""
    return [
        replace(route, roles=(READ, INGEST, CONTROL)) if route.path.endswith("/count") else route for route in routes
    ]


def _queries(h: QueryHandlers) -> list[Route]:
    return [*_contexts(h), *_sessions(h), *_tests(h), *_pipelines(h), *_resources(h), *_runs(h)]


def _contexts(h: QueryHandlers) -> list[Route]:
    contexts = protocol.ContextsPage
    return [
        *_lists("/contexts/", h.contexts, "contexts", "All contexts.", contexts),
        *_asked_by_suites(_lists("/contexts/{h}", h.contexts, "contexts_by_prefix", "Contexts by prefix.", contexts)),
        _one("/contexts/count", h.count_contexts, "count_contexts", "The number of contexts.", protocol.Count),
        *_metrics(h, "/contexts/{context_h}/metrics", "context", "Metrics of a context.", context_h="context_h"),
    ]


def _sessions(h: QueryHandlers) -> list[Route]:
    sessions, by_tags = protocol.SessionsPage, protocol.SessionsQuery
    return [
        *_lists("/sessions/", h.sessions, "sessions", "All sessions.", sessions, by_tags),
        *_asked_by_suites(
            _lists("/sessions/{h}", h.sessions, "sessions_by_prefix", "Sessions by prefix.", sessions, by_tags)
        ),
        _one("/sessions/count", h.count_sessions, "count_sessions", "The number of sessions.", protocol.Count),
        *_asked_by_imports(
            _metrics(h, "/sessions/{session_h}/metrics", "session", "Metrics of a session.", session_h="session_h")
        ),
        *_metrics(h, "/filters/scm/{ref}/metrics", "scm", "Metrics by prefix of the commit.", scm_prefix="ref"),
        *_lists("/filters/scm/{ref}/sessions", h.scm_sessions, "scm_sessions", "Sessions by commit.", sessions),
    ]


def _tests(h: QueryHandlers) -> list[Route]:
    component, item, variant = {"component": "component"}, {"item": "item"}, {"variant": "variant"}
    # One client sends an empty component for metrics without one.
    none, own = {"component": ""}, "/components/{component:[^/]*}"
    names = protocol.ComponentsPage
    return [
        *_metrics(h, "/metrics/", "all", "All metrics."),
        *_metrics(h, "/items/{item}/metrics", "item", "Metrics of a test.", **item),
        *_metrics(
            h, "/items/like/{item}/metrics", "item_like", "Metrics by part of the test's name.", item_like="item"
        ),
        *_metrics(h, "/variants/{variant}/metrics", "variant", "Metrics of a variant.", **variant),
        *_metrics(
            h, "/variants/like/{variant}/metrics", "variant_like", "Metrics by part of it.", variant_like="variant"
        ),
        *_metrics(h, "/filters/scope/{kind}/metrics", "scope", "Metrics of a scope.", kind="kind"),
        *_lists("/components/", h.components, "components", "All components.", names),
        *_lists("/components/{prefix}", h.components, "components_by_prefix", "Components by prefix.", names),
        _one("/components/count", h.count_components, "count_components", "The number of components.", protocol.Count),
        *_metrics(h, "/components/metrics", "no_component", "Metrics without a component.", **none),
        *_metrics(h, f"{own}/metrics", "component", "Metrics of a component.", **component),
        *_metrics(h, "/components/items/{item}/metrics", "bare_item", "A test without component.", **none, **item),
        *_metrics(h, f"{own}/items/{{item}}/metrics", "own_item", "A component's test.", **component, **item),
        *_metrics(
            h,
            "/components/variants/{variant}/metrics",
            "bare_variant",
            "A variant without component.",
            **none,
            **variant,
        ),
        *_metrics(
            h, f"{own}/variants/{{variant}}/metrics", "own_variant", "A component's variant.", **component, **variant
        ),
        _one(
            "/items/{item}/history",
            h.history,
            "item_history",
            "Executions of a test, newest first.",
            protocol.History,
            protocol.LimitQuery,
        ),
        _one(
            "/metrics/orphans",
            h.orphans,
            "orphans",
            "Metrics whose session never arrived.",
            protocol.Orphans,
            protocol.LimitQuery,
        ),
    ]


def _pipelines(h: QueryHandlers) -> list[Route]:
    builds, sessions = protocol.BuildsPage, protocol.BuildSessionsPage
    of_component, of_build = "/components/{component}", "/pipelines/{pipeline}/builds"
    return [
        *_lists("/pipelines/", h.all_pipelines, "pipelines", "All pipelines.", protocol.Pipelines, page=None),
        _sub(of_build, h.builds, "pipeline_builds", builds),
        _sub(f"{of_build}/{{build}}/sessions", h.build_sessions, "pipeline_build_sessions", sessions),
        _sub(f"{of_component}/pipelines", h.pipelines, "component_pipelines", protocol.PipelinesPage),
        _sub(of_component + of_build, h.builds, "component_builds", builds),
        _sub(f"{of_component}{of_build}/{{build}}/sessions", h.build_sessions, "component_build_sessions", sessions),
    ]


def _resources(h: QueryHandlers) -> list[Route]:
    return [
        *_extremes(h, ""),
        *_extremes(h, "/components/{component}", component="component"),
        *_extremes(h, "/pipelines/{pipeline}", pipeline="pipeline"),
        *_extremes(h, "/pipelines/{pipeline}/builds/{build}", pipeline="pipeline", build="build"),
    ]


def _runs(h: QueryHandlers) -> list[Route]:
    return [
        *_lists("/runs/", h.runs, "runs", "Test runs, newest first.", protocol.Runs, protocol.RunsQuery, page=None),
        _one("/runs/{id}", h.run, "run", "A test run.", model.Run, missing="There is no such run."),
        Route(
            "GET",
            "/runs/{id}/metrics",
            h.run_metrics,
            "run_metrics",
            "Metrics of a run.",
            _METRICS,
            _PAGE,
            protocol.PageQuery,
        ),
    ]


def _comparisons(h: ComparisonHandlers) -> list[Route]:
    compared = "Compare two runs, sessions or commits: which tests became slower or faster."
    verdict = "Compare a run with all runs before it; tests without a change are only counted."
    executions = "The latest executions of a test by its id, oldest first, and where its context changed."
    no_side, comparison = "There is no such run, session or commit.", verdicts.Comparison
    query = verdicts.ComparisonRequest
    changed = "The tests whose level changed over the history of each machine, by steps or by a drift."
    return [
        _one("/trends", h.trends, "trends", changed, trends.TrendReport, trends.TrendRequest),
        _one("/compare", h.compare, "compare", compared, comparison, query, missing=no_side),
        _one(
            "/runs/{id}/verdict",
            h.run_verdict,
            "run_verdict",
            verdict,
            comparison,
            protocol.VerdictQuery,
            missing="There is no such run.",
        ),
        _one(
            "/items/{id}/series",
            h.item_series,
            "item_series",
            executions,
            series.Series,
            protocol.SeriesQuery,
            missing="There is no such test.",
        ),
    ]


def _one(
    path: str,
    handler: Handler,
    name: str,
    summary: str,
    kind: type,
    query: type | None = None,
    *,
    missing: str | None = None,
) -> Route:
    """Return a route whose answer always has a body; `missing` describes the status 404, if that is possible."""
    answers = {200: answer(kind)} if missing is None else {200: answer(kind), 404: Answer(missing)}
    return Route("GET", path, handler, name, summary, answers, query=query)


def _lists(
    path: str,
    handler: Handler,
    name: str,
    summary: str,
    kind: Any,
    query: type = protocol.PageQuery,
    *,
    page: Body | None = _PAGE,
) -> list[Route]:
    """Return the routes of a listing; a collection also answers without its trailing slash."""
    answers = {200: answer(kind), 204: _EMPTY, 404: _NO_PAGE}
    routes = [Route("GET", path, handler, name, summary, answers, page, query)]
    if path.endswith("/"):
        routes.append(Route("GET", path[:-1], handler, f"{name}_no_slash", summary, answers, page, query))
    return routes


def _sub(path: str, handler: Handler, name: str, kind: type) -> Route:
    """Return the route of a sub-list."""
    summary = "Part of the pipelines, builds and sessions."
    return Route("GET", path, handler, name, summary, {200: answer(kind), 404: _NO_PAGE}, _PAGE, protocol.PageQuery)


def _metrics(h: QueryHandlers, path: str, name: str, summary: str, **names: str) -> list[Route]:
    """Return the routes that list and count metrics; see `QueryHandlers.metrics` for `names`."""
    rows, number = h.metrics(**names)
    return [
        Route("GET", path, rows, f"metrics_{name}", summary, _METRICS, _PAGE, protocol.PageQuery),
        _one(f"{path.rstrip('/')}/count", number, f"count_metrics_{name}", f"Count: {summary}", protocol.Count),
    ]


def _extremes(h: QueryHandlers, scope: str, **names: str) -> list[Route]:
    """Return the routes of the metrics with the most and the least of a resource, within a scope."""
    summary = "Metrics with the most (head) or the least (tail) of a resource."
    answers = {200: answer(protocol.ExtremesPage), 404: Answer("There is no such resource.")}
    label = "_".join(("extremes", *names))
    found = []
    for end, most in (("head", True), ("tail", False)):
        handler = h.extremes(most, **names)
        for part, suffix in (("", ""), ("/{n:[0-9]{1,9}}", "_n")):
            path = f"/resources/{{resource}}{scope}/{end}{part}/metrics"
            found.append(Route("GET", path, handler, f"{label}_{end}{suffix}", summary, answers))
    return found
