"""Paths and methods for aiohttp's router, made in a tenth of the time that aiohttp's own classes take.

A service has some 360 paths. aiohttp compiles the pattern of each, and looks at the handler of each route, whenever an
application is made. These classes compile a pattern at the first request that may match, once for all applications of
the process.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from functools import cache, cached_property
from typing import Any, TypeAlias

from aiohttp import web
from yarl import URL

Handler: TypeAlias = Callable[[web.Request], Awaitable[web.StreamResponse]]


class MountedRoute(web.AbstractRoute):
    """One method of a path, and its handler."""

    # aiohttp's own initialiser would only check, at some cost, that the handlers are asynchronous functions.
    def __init__(self, method: str, handler: Handler, resource: PathResource) -> None:
        self._at = (method, handler, resource)

    @property
    def method(self) -> str:
        """Return the method."""
        return self._at[0]

    @property
    def handler(self) -> Handler:
        """Return the function that answers requests."""
        return self._at[1]

    @property
    def resource(self) -> PathResource:
        """Return the path."""
        return self._at[2]

    @property
    def name(self) -> None:
        """Return None: aiohttp's names of routes are not used."""

    def url_for(self, *args: str, **kwargs: str) -> URL:
        """Return the URL with these parameters."""
        return self.resource.url_for(*args, **kwargs)

    def get_info(self) -> Any:
        """Return aiohttp's description of the path."""
        return self.resource.get_info()

    async def handle_expect_header(self, _: web.Request) -> None:
        """Ignore the header Expect: BodyReader sends 100 Continue when it reads, and other values have no effect."""


class PathResource(web.AbstractResource):
    """A path, which may have parameters with regular expressions (`{name:[^/]+}`), and its methods.

    `canonical` is the path with the names of its parameters in braces, if that is known.
    """

    def __init__(self, path: str, canonical: str | None = None) -> None:
        super().__init__()
        self._path = path
        self._canonical = _model(path).canonical if canonical is None else canonical
        self._routes: dict[str, MountedRoute] = {}

    def add(self, method: str, handler: Handler) -> MountedRoute:
        """Add a method, which the path must not have yet, and return its route."""
        if method in self._routes:
            raise ValueError(f"{method} {self.canonical} is there twice")
        route = self._routes[method] = MountedRoute(method, handler, self)
        return route

    @property
    def canonical(self) -> str:
        """Return the path with the names of its parameters in braces."""
        return self._canonical

    @property
    def is_fixed(self) -> bool:
        """Return whether the path has no parameters."""
        return "{" not in self._canonical

    @cached_property
    def _model(self) -> web.Resource:
        return _model(self._path)

    @cached_property
    def _pattern(self) -> Any:
        return self._model.get_info()["pattern"]

    async def resolve(self, request: web.Request) -> tuple[web.UrlMappingMatchInfo | None, set[str]]:
        """Return the route of a request with its parameters, or None, and the methods that its path has here."""
        path = request.rel_url.path_safe
        if self.is_fixed:
            if path != self._canonical:
                return None, set()
            parameters = {}
        elif match := self._pattern.fullmatch(path):
            parameters = {name: _unquoted(value) for name, value in match.groupdict().items()}
        else:
            return None, set()
        route = self._routes.get(request.method)
        return None if route is None else web.UrlMappingMatchInfo(parameters, route), set(self._routes)

    def add_prefix(self, prefix: str) -> None:
        """Raise TypeError: no application of smartmob is part of another one."""
        raise TypeError(f"{prefix}: routes of smartmob are mounted by themselves")

    def url_for(self, *args: str, **kwargs: str) -> URL:
        """Return the URL with these parameters."""
        return self._model.url_for(*args, **kwargs)

    def get_info(self) -> Any:
        """Return aiohttp's description of the path."""
        return self._model.get_info()

    def raw_match(self, path: str) -> bool:
        """Return whether this is the pattern of the path."""
        return self._model.raw_match(path)

    def __iter__(self) -> Iterator[web.AbstractRoute]:
        """Return the routes."""
        return iter(self._routes.values())

    def __len__(self) -> int:
        """Return the number of methods."""
        return len(self._routes)


@cache
def _model(path: str) -> web.Resource:
    """Return aiohttp's own resource for a path, which knows its pattern; it has no routes."""
    return web.UrlDispatcher().add_resource(path)


def _unquoted(value: str) -> str:
    """Return a part of a safe path, in which only the slash and the percent sign are quoted."""
    return value.replace("%2F", "/").replace("%25", "%") if "%" in value else value
