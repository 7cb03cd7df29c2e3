"""Routes as data: a feature's explicit list of them is what the router, the OpenAPI document and the tests read."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from smartmob.kernel.auth.model import CONTROL, READ, Role

_PLACE = re.compile(r"\{(\w+)\}")

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
HTML = "text/html"
TEXT = "text/plain"


@dataclass(frozen=True, slots=True)
class Answer:
    """One way in which a route answers: what it means, and the body's type, or a tuple of types, by media type."""

    description: str
    content: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Body:
    """The body that a route takes: its type by media type, and its limit in bytes if lower than `--max-body`."""

    content: Mapping[str, Any]
    required: bool = True
    limit: int | None = None


@dataclass(frozen=True, slots=True)
class Route:
    """One operation. `query` is the Struct of its query arguments; a `public` one asks for no token.

    `roles` are those whose tokens may use it; without any, GET is for `read` and the rest for `control` alone.
    `socket_roles` are those who may open the WebSocket that answers at the same address, where these are others.
    """

    method: str
    path: str
    handler: Handler
    name: str
    summary: str
    answers: Mapping[int, Answer]
    body: Body | None = None
    query: type | None = None
    public: bool = False
    roles: tuple[Role, ...] = ()
    socket_roles: tuple[Role, ...] = ()

    @property
    def allowed(self) -> tuple[Role, ...]:
        """Return the roles whose tokens may use it."""
        return self.roles or ((READ, CONTROL) if self.method == "GET" else (CONTROL,))


@dataclass(frozen=True, slots=True)
class RouteTable:
    """The routes of one feature, the prefixes under which they answer, and a pattern of further prefixes.

    `odd` is a regular expression for what may stand before the path besides the prefixes, for clients that put their
    addresses together wrongly.
    """

    feature: str
    routes: tuple[Route, ...]
    prefixes: tuple[str, ...] = ("",)
    odd: str | None = None


def answer(body: Any, description: str = "The answer.", media_type: str = JSON) -> Answer:
    """Return an Answer whose body is of one type."""
    return Answer(description, {media_type: body})


def body(kind: Any, media_type: str = JSON, limit: int | None = None) -> Body:
    """Return a Body of one type."""
    return Body({media_type: kind}, limit=limit)


def mount(app: web.Application, tables: Iterable[RouteTable]) -> dict[web.AbstractRoute, Route]:
    """Add the routes of `tables` to the application's router; return which of the router's is which of them."""
    known: dict[web.AbstractRoute, Route] = {}
    for table in tables:
        by_path: dict[str, list[Route]] = {}
        for route in table.routes:
            by_path.setdefault(route.path, []).append(route)
        for prefix in table.prefixes:
            known |= _add(app, {prefix + path: routes for path, routes in by_path.items()})
        if table.odd is not None:
            # Behind a pattern the router tries paths in this order, so a fixed word stands before a variable one.
            ordered = sorted(by_path, key=lambda path: [part.startswith("{") for part in path.split("/")])
            known |= _add(app, {f"/{{_odd:{table.odd}}}{path[1:]}": by_path[path] for path in ordered})
    return known


def _add(app: web.Application, by_path: Mapping[str, Iterable[Route]]) -> dict[web.AbstractRoute, Route]:
    known: dict[web.AbstractRoute, Route] = {}
    for path, routes in by_path.items():
        # aiohttp's own pattern for a place leaves out braces, which the names of parametrized tests contain.
        resource = app.router.add_resource(_PLACE.sub(r"{\1:[^/]+}", path))
        for route in routes:
            for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
                known[resource.add_route(method, route.handler, expect_handler=_expect)] = route
    return known


async def _expect(_: web.Request) -> None:
    """Leave it to who reads the body to tell the client to go on; what else it expects is passed over."""


def public_paths(tables: Iterable[RouteTable]) -> frozenset[str]:
    """Return the paths that ask for no token, with the names of their places in braces."""
    return frozenset(
        prefix + route.path for table in tables for route in table.routes if route.public for prefix in table.prefixes
    )
