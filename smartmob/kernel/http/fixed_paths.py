"""A short cut to the handlers of paths without parameters, which get most requests of a busy service.

For each request, aiohttp's router tries all prefixes of the path, describes the result in a new object, and calls the
handler through its own middleware for nested applications. Here one look-up finds all of this, made once. It uses
internals of aiohttp: tests/kernel/http/test_aiohttp_internals.py fails when they change.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

from aiohttp import hdrs, web

from smartmob.kernel.http.resource import PathResource

Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class FixedPaths:
    """Answers requests for the paths of `app` without parameters, and gives all others to `otherwise`, its router.

    The routes and the middlewares of `app` must not change any more.
    """

    def __init__(self, app: web.Application, otherwise: Handle) -> None:
        self._otherwise = otherwise
        self._found: dict[tuple[str, str], tuple[web.UrlMappingMatchInfo, Handle]] = {}
        for resource in app.router.resources():
            if isinstance(resource, PathResource) and resource.is_fixed:
                for route in resource:
                    found = web.UrlMappingMatchInfo({}, route)
                    found.add_app(app)
                    found.freeze()
                    self._found.setdefault((route.method, resource.canonical), (found, _behind(app, route.handler)))

    def __call__(self, request: web.BaseRequest) -> Awaitable[web.StreamResponse]:
        """Return the coroutine that answers a request."""
        # Escaped characters and absolute addresses are not in the table: the router knows what they mean.
        found = self._found.get((request.method, request.raw_path.partition("?")[0]))
        if found is None or hdrs.EXPECT in request.headers or not isinstance(request, web.Request):
            return self._otherwise(request)
        request._match_info, handle = found
        return handle(request)


def _behind(app: web.Application, handler: Any) -> Handle:
    """Return a handler wrapped in the middlewares of an application, the first one outermost."""
    for middleware in reversed(app.middlewares):
        handler = partial(middleware, handler=handler)
    found: Handle = handler
    return found
