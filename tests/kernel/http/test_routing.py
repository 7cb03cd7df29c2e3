"""Routes as data, and the router that is made of them."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from smartmob.kernel.http.routing import HTML, JSON, Answer, Route, RouteTable, answer, body, mount, public_paths


def _route(method: str, path: str, **changes: Any) -> Route:
    name = f"{method} {path}"

    async def handler(_: web.Request) -> web.StreamResponse:
        raise AssertionError(name)

    return Route(method, path, handler, name, "What it does.", {200: answer(str)}, **changes)


def _app(*tables: RouteTable) -> web.Application:
    app = web.Application()
    mount(app, tables)
    return app


async def _found(app: web.Application, method: str, path: str) -> Any:
    # An address in full, since a path that begins with two slashes would be taken for a host.
    return await app.router.resolve(make_mocked_request(method, f"http://localhost{path}"))


async def _handler(app: web.Application, method: str, path: str) -> tuple[Any, dict[str, str]]:
    found = await _found(app, method, path)
    return found.handler, dict(found)


LIST, CREATE, SHOW = _route("GET", "/things/"), _route("POST", "/things/"), _route("GET", "/things/{name}")
FIXED = _route("GET", "/things/count")


async def test_method_and_path_select_the_handler() -> None:
    """Method and path lead to the handler, with the parameters of the path."""
    app = _app(RouteTable("feature", (LIST, CREATE, FIXED, SHOW)))

    assert await _handler(app, "GET", "/things/") == (LIST.handler, {})
    assert await _handler(app, "POST", "/things/") == (CREATE.handler, {})
    assert await _handler(app, "GET", "/things/a%2Fb") == (SHOW.handler, {"name": "a/b"})
    assert await _handler(app, "GET", "/things/{a}[1]") == (SHOW.handler, {"name": "{a}[1]"})


async def test_a_fixed_segment_precedes_a_parameter() -> None:
    """The order of the routes does not matter between `count` and a parameter."""
    for routes in ((FIXED, SHOW), (SHOW, FIXED)):
        app = _app(RouteTable("feature", routes, extra_prefixes="x/"))

        assert (await _handler(app, "GET", "/x/things/count"))[0] == FIXED.handler
        assert (await _handler(app, "GET", "/x/things/other"))[0] == SHOW.handler


async def test_head_is_allowed_where_get_is() -> None:
    """HEAD is allowed where GET is, and nowhere else."""
    app = _app(RouteTable("feature", (LIST, _route("POST", "/only"))))

    assert (await _handler(app, "HEAD", "/things/"))[0] == LIST.handler
    assert (await _found(app, "HEAD", "/only")).http_exception.status == 405


async def test_another_method_is_405_with_all_methods() -> None:
    """A method that a path does not have gets 405 with all methods of the path."""
    app = _app(RouteTable("feature", (LIST, CREATE)))

    error = (await _found(app, "DELETE", "/things/")).http_exception

    assert error.status == 405
    assert error.allowed_methods == {"GET", "HEAD", "POST"}


async def test_an_unknown_path_is_404() -> None:
    """An unknown path gets 404."""
    app = _app(RouteTable("feature", (LIST,)))

    assert (await _found(app, "GET", "/things")).http_exception.status == 404


async def test_routes_answer_below_each_prefix() -> None:
    """Every route answers below each prefix of its feature, and below no other."""
    app = _app(RouteTable("feature", (LIST,), prefixes=("", "/api/v1")), RouteTable("other", (_route("GET", "/solo"),)))

    assert (await _handler(app, "GET", "/things/"))[0] == LIST.handler
    assert (await _handler(app, "GET", "/api/v1/things/"))[0] == LIST.handler
    assert (await _found(app, "GET", "/api/v1/solo")).http_exception.status == 404


async def test_extra_prefixes_match_their_pattern() -> None:
    """A path may begin with any text that matches the pattern, for all methods."""
    app = _app(RouteTable("feature", (LIST, CREATE, SHOW), prefixes=("",), extra_prefixes=r"/+(?:api/v1/)*"))

    assert (await _handler(app, "GET", "//things/"))[0] == LIST.handler
    assert (await _handler(app, "POST", "//api/v1/api/v1/things/"))[0] == CREATE.handler
    assert (await _handler(app, "GET", "//things/x")) == (SHOW.handler, {"_extra_prefix": "/", "name": "x"})
    assert (await _found(app, "GET", "/other/things/")).http_exception.status == 404


@pytest.mark.parametrize(
    ("tables", "paths"),
    [
        ([], set()),
        ([RouteTable("feature", (LIST, CREATE))], set()),
        ([RouteTable("feature", (LIST, _route("GET", "/open", public=True)))], {"/open"}),
        (
            [
                RouteTable(
                    "feature", (_route("GET", "/open", public=True), SHOW), prefixes=("", "/api"), extra_prefixes="x/"
                )
            ],
            {"/open", "/api/open"},
        ),
    ],
)
def test_only_public_routes_need_no_token(tables: list[RouteTable], paths: set[str]) -> None:
    """Only public routes need no token, and only below the documented prefixes."""
    assert public_paths(tables) == paths


def test_answer_and_body_take_one_type() -> None:
    """`answer` and `body` make an Answer and a Body of one type."""
    assert answer(int) == Answer("The answer.", {JSON: int})
    assert answer(str, "A page.", HTML) == Answer("A page.", {HTML: str})
    assert body(int).content == {JSON: int}
    assert body(int).required
    assert body(str, HTML).content == {HTML: str}
