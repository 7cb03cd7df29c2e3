"""The targets of requests, and redirects of a real server."""

from __future__ import annotations

from typing import Any

import pytest
from aiohttp import web

from smartmob.client.http import RestClient
from smartmob.client.request_targets import with_query
from smartmob.errors import RemoteError


def test_a_list_repeats_its_key() -> None:
    """Values are quoted, and a path that has a query already keeps it."""
    assert with_query("/runs/", {}) == "/runs/"
    assert with_query("/runs/", {"tag": ["a b", "c&d"], "limit": 1}) == "/runs/?tag=a+b&tag=c%26d&limit=1"
    assert with_query("/runs/?q=1", {"limit": 1}) == "/runs/?q=1&limit=1"


async def _redirecting(aiohttp_server: Any, location: str) -> str:
    """Return the URL of a server that redirects `/old` to `location`."""

    async def redirect(_: web.Request) -> web.Response:
        return web.Response(status=307, headers={"Location": location})

    async def found(_: web.Request) -> web.Response:
        return web.json_response({"found": True})

    app = web.Application()
    app.router.add_route("*", "/old", redirect)
    app.router.add_get("/new/place", found)
    return str((await aiohttp_server(app)).make_url("")).rstrip("/")


@pytest.mark.parametrize("location", ["/new/place", "new/place"])
async def test_a_redirect_on_the_same_server_is_followed(aiohttp_server: Any, location: str) -> None:
    """Its location may be relative."""
    async with RestClient(await _redirecting(aiohttp_server, location)) as rest:
        assert await rest.get("/old") == {"found": True}


async def test_a_redirect_to_another_server_is_named_instead(aiohttp_server: Any) -> None:
    """A token must not reach a server that the user has not named."""
    async with RestClient(await _redirecting(aiohttp_server, "http://127.0.0.1:9/x")) as rest:
        with pytest.raises(
            RemoteError, match=r"redirects to another address, 'http://127\.0\.0\.1:9/x'; give that one"
        ):
            await rest.get("/old")


async def test_data_is_not_sent_to_where_it_was_not_addressed(aiohttp_server: Any) -> None:
    """Only GET is repeated at another path."""
    async with RestClient(await _redirecting(aiohttp_server, "/new/place")) as rest:
        with pytest.raises(RemoteError, match=r"it redirects to '/new/place'\. Check the address"):
            await rest.post("/old", {})


async def test_a_circle_of_redirects_ends(aiohttp_server: Any) -> None:
    """The error says how many were followed."""
    async with RestClient(await _redirecting(aiohttp_server, "/old")) as rest:
        with pytest.raises(RemoteError, match="redirects more than 10 times"):
            await rest.get("/old")
