"""Paths and methods of the router, compared with aiohttp's own."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request
from yarl import URL

from smartmob.app import build
from smartmob.kernel.http.resource import PathResource
from smartmob.settings import Settings


async def _answer(_: web.Request) -> web.StreamResponse:
    raise NotImplementedError


def _routers(*paths: str) -> tuple[web.UrlDispatcher, web.UrlDispatcher]:
    """Return a router with these paths for GET and PUT, and one with aiohttp's own resources."""
    ours, theirs = web.UrlDispatcher(), web.UrlDispatcher()
    for path in paths:
        resource = PathResource(path)
        for method in ("GET", "PUT"):
            resource.add(method, _answer)
            theirs.add_route(method, path, _answer)
        ours.register_resource(resource)
    return ours, theirs


async def _found(router: web.UrlDispatcher, method: str, path: str) -> Any:
    found = await router.resolve(make_mocked_request(method, f"http://localhost{path}"))
    error = found.http_exception
    if error is None:
        return dict(found), found.handler, found.route.method, found.route.resource.canonical, found.get_info()
    return error.status, getattr(error, "allowed_methods", None)


PATHS = ("/", "/fixed", "/fixed/{name:[^/]+}", "/{name:[^/]+}/end", "/ü/{name:[^/]+}", "/rest/{rest:.*}")


@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE"])
async def test_requests_find_what_they_find_with_resources_of_aiohttp(method: str) -> None:
    """Route, parameters, allowed methods and errors are those of aiohttp's own resources."""
    ours, theirs = _routers(*PATHS)
    for path in (
        *("/", "/fixed", "/fixed/", "/fixed/a", "/fixed/a%2Fb", "/fixed/100%25", "/fixed/%252F", "/fixed/{a}[b]"),
        *(
            "/fixed/end",
            "/other/end",
            "//end",
            "/%C3%BC/x",
            "/ü/x",
            "/rest/",
            "/rest/a/b",
            "/rest/a%2F%25b",
            "/nothing",
        ),
        *("/fixed/a\nb", "/FIXED", "/fixed?a=b", "/rest", "/nothing"),
    ):
        assert await _found(ours, method, path) == await _found(theirs, method, path), path


def test_addresses_are_those_of_aiohttp() -> None:
    """The addresses and descriptions of paths and routes are those of aiohttp's own resources."""
    for our, their in zip(*(list(router.routes()) for router in _routers(*PATHS)), strict=True):
        assert (our.method, our.name, our.get_info()) == (their.method, their.name, their.get_info())
        values = {"name": "a/b", "rest": "c d"}
        parts = {name: value for name, value in values.items() if f"{{{name}}}" in our.resource.canonical}
        assert our.url_for(**parts) == their.url_for(**parts)
    assert PathResource("/{name:[^/]+}").url_for(name="x") == URL("/x")


def test_a_method_is_there_once() -> None:
    """A second handler for a method, which would never be called, is an error."""
    resource = PathResource("/")
    resource.add("GET", _answer)
    with pytest.raises(ValueError, match="GET / is there twice"):
        resource.add("GET", _answer)
    assert [route.method for route in resource] == ["GET"] and len(resource) == 1


def test_the_resource_of_a_router_is_reused_by_its_path() -> None:
    """A resource knows the pattern that it was made of, and is no part of another application."""
    resource = PathResource("/{name:[^/]+}")
    assert resource.raw_match("/{name:[^/]+}") and not resource.raw_match("/{name}")
    with pytest.raises(TypeError, match="/prefix: "):
        resource.add_prefix("/prefix")


def test_the_given_names_of_parameters_are_those_of_the_pattern(settings: Settings) -> None:
    """The paths of the service are shown as aiohttp would show them; no pattern is compiled for that."""
    resources = [each for each in build(settings).app.router.resources() if isinstance(each, PathResource)]
    patterns = {each.canonical: each.get_info().get("formatter", each.canonical) for each in resources}
    assert len(patterns) > 300
    assert {shown: pattern for shown, pattern in patterns.items() if shown != pattern} == {}
    assert [each.canonical for each in resources if each.is_fixed != ("path" in each.get_info())] == []
