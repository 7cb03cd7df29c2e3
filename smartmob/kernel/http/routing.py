"""Routes as data: each feature lists its routes, and the router, the OpenAPI document and the tests read the list."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cache
from typing import Any

import msgspec
from aiohttp import web

from smartmob.kernel.auth.model import CONTROL, READ, Role
from smartmob.kernel.http.resource import Handler as Handler
from smartmob.kernel.http.resource import PathResource

_PARAMETER = re.compile(r"\{(\w+)\}")
_PATTERN = re.compile(r"(?<=\w):(?:[^{}]|\{[^{}]*\})+(?=\})")  # the regular expression of a parameter, with its colon

JSON = "application/json"
NDJSON = "application/x-ndjson"
CSV = "text/csv"
HTML = "text/html"
TEXT = "text/plain"


class Answer(msgspec.Struct, frozen=True):
    """One possible answer of a route: its meaning, and by media type the type of its body or a tuple of types."""

    description: str
    content: Mapping[str, Any] = msgspec.field(default_factory=dict)


class Body(msgspec.Struct, frozen=True):
    """The body that a route accepts: its type by media type, and its limit in bytes if lower than `--max-body`."""

    content: Mapping[str, Any]
    required: bool = True
    limit: int | None = None


class Route(msgspec.Struct, frozen=True):
    """One operation: a method, a path and its handler. `query` is the Struct of the query arguments.

    A `public` route needs no token. `roles` lists the roles of tokens that may use the route; if it is empty, GET needs
    `read` or `control`, and every other method needs `control`. `socket_roles` lists the roles that may open the
    WebSocket at the same address, if they differ. Routes with `any_query` accept all query arguments; the last
    parameter of the path of a `rest` route contains the rest of the path.
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
    any_query: bool = False
    rest: bool = False
    in_workers: bool = False
    """True if any worker answers the route itself: it needs only the database. Others are passed on to the owner."""
    of_nodes: bool = False
    """True if a token that is limited to some nodes may use the route; its handler checks the labels of the node."""
    starts_work: bool = False
    """True if the route starts work on the service's machine; it is refused if another client has reserved that."""

    @property
    def allowed(self) -> tuple[Role, ...]:
        """Return the roles of tokens that may use the route."""
        return self.roles or ((READ, CONTROL) if self.method == "GET" else (CONTROL,))

    @property
    def query_names(self) -> frozenset[str]:
        """Return the names of the query arguments; any other one is refused."""
        return _names(self.query)


AUDITED = web.RequestKey("audited", str)
"""The key under which a handler stores the subject of a request for the audit log, if the path does not contain it."""
REFUSED = web.RequestKey("refused", bool)
"""The key that marks a request that its token does not allow."""


class RouteTable(msgspec.Struct, frozen=True):
    """The routes of one feature and the path prefixes at which they are mounted.

    `extra_prefixes` is a regular expression of further prefixes, which are not documented, for clients that join their
    URLs wrongly.
    """

    feature: str
    routes: tuple[Route, ...]
    prefixes: tuple[str, ...] = ("",)
    extra_prefixes: str | None = None


def answer(body: Any, description: str = "The answer.", media_type: str = JSON) -> Answer:
    """Return an Answer with a body of one type."""
    return Answer(description, {media_type: body})


def body(kind: Any, media_type: str = JSON, limit: int | None = None) -> Body:
    """Return a Body of one type; `limit` is in bytes."""
    return Body({media_type: kind}, limit=limit)


@cache
def _names(query: type | None) -> frozenset[str]:
    return frozenset() if query is None else frozenset(field.encode_name for field in msgspec.structs.fields(query))


def mount(app: web.Application, tables: Iterable[RouteTable]) -> dict[web.AbstractRoute, Route]:
    """Add the routes of `tables` to the router of the application; return our route for each route of the router."""
    mounted: dict[web.AbstractRoute, Route] = {}
    for table in tables:
        by_path: dict[str, list[Route]] = {}
        for route in table.routes:
            by_path.setdefault(route.path, []).append(route)
        for prefix in table.prefixes:
            mounted |= _add(app, by_path, prefix, prefix)
        if table.extra_prefixes is not None:
            # Below a pattern the router tries paths in order, so a fixed segment must precede a parameter.
            ordered = sorted(by_path, key=lambda path: [part.startswith("{") for part in path.split("/")])
            ends = {path[1:]: by_path[path] for path in ordered}  # the prefix ends with the slash
            mounted |= _add(app, ends, "/{_extra_prefix}", f"/{{_extra_prefix:{table.extra_prefixes}}}")
    return mounted


def _add(
    app: web.Application, by_path: Mapping[str, Sequence[Route]], prefix: str, prefix_pattern: str
) -> dict[web.AbstractRoute, Route]:
    """Add the routes of paths below a prefix, which is shown as `prefix`."""
    mounted: dict[web.AbstractRoute, Route] = {}
    for path, routes in by_path.items():
        pattern = prefix_pattern + _pattern(path, any(route.rest for route in routes))
        resource = PathResource(pattern, prefix + _PATTERN.sub("", path))
        app.router.register_resource(resource)
        for route in routes:
            for method in ("GET", "HEAD") if route.method == "GET" else (route.method,):
                mounted[resource.add(method, route.handler)] = route
    return mounted


@cache
def _pattern(path: str, with_rest: bool) -> str:
    """Return aiohttp's pattern of a path, whose last parameter may be the rest of the path."""
    # aiohttp's own pattern for a parameter excludes braces, which the names of parametrised tests contain.
    pattern = _PARAMETER.sub(r"{\1:[^/]+}", path)
    return f"{pattern.removesuffix(':[^/]+}')}:.*}}" if with_rest else pattern


def public_paths(tables: Iterable[RouteTable]) -> frozenset[str]:
    """Return the paths that need no token, with the names of their parameters in braces."""
    return frozenset(
        prefix + route.path for table in tables for route in table.routes if route.public for prefix in table.prefixes
    )
