"""Contracts of every route: it is documented, its errors have one shape, and no input causes an internal error."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from aiohttp import web

from smartmob.app import build
from smartmob.kernel.http.openapi import documented_path
from smartmob.settings import Settings

_OWN_ERRORS = frozenset(
    ("/client", "/client/", "/client/{username}", "/client/{username}/time", "/client/{username}/time/report")
)
"""Paths whose errors a seed's protocol defines."""


def _routes() -> list[tuple[str, str]]:
    """Return method and path of every route of the service's router."""
    app = build(Settings(data_dir=Path("nowhere"))).app
    return sorted(
        {(route.method, route.resource.canonical) for route in app.router.routes() if route.resource is not None}
    )


ROUTES = [(method, path) for method, path in _routes() if method != "HEAD"]


def test_every_route_is_documented() -> None:
    """The router and the document know the same operations, under all prefixes that the document names."""
    service = build(Settings(data_dir=Path("nowhere")))
    document = service.document

    told = set()
    for path, item in document["paths"].items():
        for method, operation in item.items():
            prefixes = [server["url"].rstrip("/") for server in operation.get("servers", [{"url": ""}])]
            told |= {(method.upper(), prefix + path) for prefix in prefixes}
    known = {(method, documented_path(path)) for method, path in ROUTES if "_extra_prefix" not in path}
    assert known == told


def test_operations_have_names_of_their_own() -> None:
    """Clients that are generated from the document call operations by these names."""
    paths = build(Settings(data_dir=Path("nowhere"))).document["paths"].values()
    names = [operation["operationId"] for item in paths for operation in item.values()]
    assert len(names) == len(set(names))


_PLACES = re.compile(r"\{(\w+)(?::(?:[^{}]|\{[^{}]*\})*)?\}")


def address(path: str, value: str) -> str:
    """Return an address for a path of the router, with the same value in each of its places."""
    return _PLACES.sub(lambda place: {"_extra_prefix": "/", "n": "3"}.get(place[1], value), path)


async def test_errors_have_one_shape(client: Any) -> None:
    """Each refusal is a problem document with the id of the request, and no input causes an internal error."""
    for method, path in ROUTES:
        for verb, value, data in ((method, "%00", b"{"), (method, "x", b"\xff"), ("PATCH", "x", b"")):
            url = f"http://127.0.0.1:{client.server.port}{address(path, value)}"
            headers = {"X-Request-Id": "the-id-of-this-request"}
            async with client.session.request(verb, url, data=data, headers=headers, allow_redirects=False) as response:
                place = (verb, path, value)
                assert response.status < 500, place
                assert response.headers["X-Request-Id"] == "the-id-of-this-request", place
                if response.status < 400 or path in _OWN_ERRORS or response.content_type == "text/html":
                    continue
                problem = await response.json(content_type=None)
            assert response.content_type == "application/problem+json", place
            assert set(problem) >= {"type", "title", "status", "detail", "instance", "request_id"}, place
            assert problem["type"].startswith("urn:smartmob:problem:"), place
            assert (problem["status"], problem["request_id"]) == (response.status, "the-id-of-this-request"), place


async def test_unknown_query_arguments_are_refused(client: Any) -> None:
    """A misspelt argument is an error at each address: the answer for its default would be taken for the right one."""
    for method, path in ROUTES:
        if "/service/" in path:
            continue  # the arguments are those of the node
        url = f"http://127.0.0.1:{client.server.port}{address(path, 'x')}?no_such_argument=1"
        async with client.session.request(method, url, allow_redirects=False) as response:
            assert response.status == 400, (method, path)
            text = await response.text()
        assert "no_such_argument" in text, (method, path)
        assert "it takes" in text, (method, path)


async def test_an_unknown_path_is_answered_by_a_problem(client: Any) -> None:
    """The router's own refusals are problems as well."""
    async with client.get("/nothing/here") as response:
        problem = await response.json(content_type=None)
    assert (response.status, problem["type"]) == (404, "urn:smartmob:problem:not-found")
    assert "/docs" in problem["detail"]


def test_the_router_is_the_applications_own() -> None:
    """Nothing adds routes behind the back of the tables."""
    assert isinstance(build(Settings(data_dir=Path("nowhere"))).app.router, web.UrlDispatcher)
