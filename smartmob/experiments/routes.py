"""The routes of the feature `experiments`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Annotated
from uuid import UUID

import msgspec
from aiohttp import web

from smartmob import csv_cells
from smartmob.errors import InvalidInput
from smartmob.experiments.listing import CSV_HEADER, VerdictFilter, csv_row, listed
from smartmob.experiments.model import ExperimentReport, VerdictOnTest
from smartmob.experiments.service import ExperimentsService
from smartmob.experiments.stored_experiment import (
    MAX_BYTES,
    Details,
    ExperimentSummary,
    PairsOfTest,
    VerdictsPage,
    pairs_of,
)
from smartmob.kernel.auth.model import CONTROL, INGEST
from smartmob.kernel.http import paging
from smartmob.kernel.http.bodies import BodyReader, decode, parameter, query
from smartmob.kernel.http.json_response import json_response
from smartmob.kernel.http.routing import CSV, JSON, Answer, Route, RouteTable, answer, body
from smartmob.kernel.http.stream_response import stream

_ROWS = 500  # of one chunk of CSV


class ExperimentsQuery(msgspec.Struct, frozen=True):
    """The experiments to list: those of one machine, or all."""

    machine: str | None = None
    limit: Annotated[int, msgspec.Meta(ge=1, le=1_000)] = 100
    before: str | None = None


class PairsQuery(msgspec.Struct, frozen=True):
    """The test whose ratios are wanted; without it each pair has the median of all tests."""

    test: str | None = None


class Experiments(msgspec.Struct, frozen=True):
    """Experiments, newest first; `next` is the value of `before` for the next page, null on the last page."""

    experiments: list[ExperimentSummary]
    next: str | None


def table(service: ExperimentsService, bodies: BodyReader) -> RouteTable:
    """Return the routes of the feature."""
    h = _Handlers(service, bodies)
    return RouteTable("experiments", (*_lists(h), *_of_one(h)))


def _lists(h: _Handlers) -> Iterator[Route]:
    yield Route(
        "POST",
        "/experiments",
        h.store,
        "store_experiment",
        "Store an experiment: the document of the command ab with --json.",
        {
            201: answer(ExperimentSummary, "It is stored."),
            200: answer(ExperimentSummary, "The same experiment was stored before."),
            409: Answer("Another experiment has this id."),
        },
        body(ExperimentReport, limit=MAX_BYTES),
        roles=(INGEST, CONTROL),
    )
    yield Route(
        "GET",
        "/experiments",
        h.experiments,
        "experiments",
        "The experiments, newest first.",
        {200: answer(Experiments)},
        query=ExperimentsQuery,
    )


def _of_one(h: _Handlers) -> Iterator[Route]:
    not_found = Answer("There is no such experiment.")
    for path, handler, name, summary, kind in (
        ("", h.details, "experiment", "An experiment without its tests and pairs.", Details),
        (
            "/report",
            h.report,
            "experiment_report",
            "A whole experiment, as the command ab prints it with --json.",
            ExperimentReport,
        ),
    ):
        yield Route(
            "GET", f"/experiments/{{id}}{path}", handler, name, summary, {200: answer(kind), 404: not_found}
        )  # fmt: skip
    yield Route(
        "GET",
        "/experiments/{id}/tests",
        h.tests,
        "experiment_tests",
        "The tests of an experiment, changed ones first, as JSON or CSV, depending on Accept.",
        {200: Answer("The tests.", {JSON: VerdictsPage, CSV: str}), 404: not_found},
        query=VerdictFilter,
    )
    yield Route(
        "GET",
        "/experiments/{id}/pairs",
        h.pairs,
        "experiment_pairs",
        "The pairs of an experiment in time, with the ratios of one test or of all.",
        {200: answer(PairsOfTest), 404: not_found},
        query=PairsQuery,
    )
    yield Route(
        "DELETE",
        "/experiments/{id}",
        h.delete,
        "remove_experiment",
        "Delete an experiment.",
        {204: Answer("The experiment was deleted."), 404: not_found},
    )


class _Handlers:
    """Handlers of experiments: parse, call the service, encode."""

    def __init__(self, service: ExperimentsService, bodies: BodyReader) -> None:
        self._service = service
        self._bodies = bodies
        self._report = msgspec.json.Decoder(ExperimentReport)

    async def store(self, request: web.Request) -> web.StreamResponse:
        summary, is_new = await self._service.store(decode(self._report, await self._bodies.read(request)))
        response = json_response(summary, 201 if is_new else 200)
        response.headers["Location"] = f"/experiments/{summary.id}"
        return response

    async def experiments(self, request: web.Request) -> web.StreamResponse:
        wanted = query(request, ExperimentsQuery)
        before = None if wanted.before is None else paging.parse_row_cursor(wanted.before)
        found = await self._service.newest(wanted.machine, wanted.limit, before)
        last = found[-1] if len(found) == wanted.limit else None
        following = None if last is None else paging.cursor(last.started_at.isoformat(), str(last.id))
        return json_response(Experiments(found, following))

    async def details(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.details(_ident(request)))

    async def report(self, request: web.Request) -> web.StreamResponse:
        return json_response(await self._service.report(_ident(request)))

    async def tests(self, request: web.Request) -> web.StreamResponse:
        wanted, ident = query(request, VerdictFilter), _ident(request)
        tests = await self._service.tests(ident)
        if CSV not in request.headers.get("Accept", ""):
            return json_response(listed(tests, wanted))
        found = listed(tests, msgspec.structs.replace(wanted, limit=len(tests) + 1, offset=0)).tests
        return await stream(request, _csv(found), f"{CSV}; charset=utf-8", f"experiment-{ident}.csv")

    async def pairs(self, request: web.Request) -> web.StreamResponse:
        wanted = query(request, PairsQuery)
        return json_response(pairs_of(await self._service.pairs(_ident(request)), wanted.test))

    async def delete(self, request: web.Request) -> web.StreamResponse:
        await self._service.delete(_ident(request))
        return web.Response(status=204)


async def _csv(tests: Sequence[VerdictOnTest]) -> AsyncIterator[bytes]:
    """Yield the rows of the tests under their header."""
    yield csv_cells.encoded([CSV_HEADER])
    for at in range(0, len(tests), _ROWS):
        yield csv_cells.encoded(csv_row(test) for test in tests[at : at + _ROWS])


def _ident(request: web.Request) -> UUID:
    text = parameter(request, "id")
    try:
        return UUID(text)
    except ValueError:
        raise InvalidInput.at("id", f"expected the id of an experiment, got {text!r}") from None
