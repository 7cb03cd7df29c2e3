"""The shorter way to the handlers of paths without parameters, compared with aiohttp's router."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from aiohttp.test_utils import make_mocked_request

from smartmob.kernel.http.fixed_paths import FixedPaths
from smartmob.kernel.http.resource import PathResource

_NAME = web.AppKey("name", str)


class _Recorder:
    """Handlers and middlewares that note their calls."""

    def __init__(self) -> None:
        self.calls: list[str] = []

    def middleware(self, name: str) -> Any:
        @web.middleware
        async def call(request: web.Request, handler: Any) -> web.StreamResponse:
            self.calls.append(name)
            response: web.StreamResponse = await handler(request)
            return response

        return call

    def handler(self, name: str) -> Any:
        async def call(request: web.Request) -> web.StreamResponse:
            self.calls.append(f"{name} of {request.match_info.route.resource.canonical} in {request.app[_NAME]}")
            return web.Response()

        return call

    async def otherwise(self, _: web.BaseRequest) -> web.StreamResponse:
        self.calls.append("router")
        return web.Response()


async def _calls(method: str, target: str, headers: dict[str, str] | None = None) -> list[str]:
    """Return what a request for `target` calls, in order."""
    recorder = _Recorder()
    app = web.Application(middlewares=[recorder.middleware("outer"), recorder.middleware("inner")])
    app[_NAME] = "app"
    for path in ("/things/", "/things/{name:[^/]+}", "/things/"):
        resource = PathResource(path)
        name = "first" if path != "/things/" or not app.router.resources() else "second"
        resource.add("GET", recorder.handler(name))
        app.router.register_resource(resource)
    handle = FixedPaths(app, recorder.otherwise)
    await handle(make_mocked_request(method, target, headers))
    return recorder.calls


async def test_a_fixed_path_calls_the_first_handler_behind_all_middlewares() -> None:
    """The outer middleware comes first, the request has its route, and the path that was mounted first counts."""
    for target in ("/things/", "/things/?page=2"):
        assert await _calls("GET", target) == ["outer", "inner", "first of /things/ in app"]


async def test_all_other_requests_are_left_to_the_router() -> None:
    """Parameters, other methods, escapes, whole URLs, the header Expect and unknown paths are the router's."""
    for method, target in (
        ("GET", "/things/a"), ("PUT", "/things/"), ("GET", "/thing%73/"), ("GET", "http://localhost/things/"),
        ("GET", "//things/"), ("GET", "/things/#a"), ("GET", "/nothing"),
    ):  # fmt: skip
        assert await _calls(method, target) == ["router"]
    assert await _calls("GET", "/things/", {"Expect": "100-continue"}) == ["router"]
