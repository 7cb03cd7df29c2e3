"""The connection of pages to their service in a real browser: signing in, a restart, and a page from the cache."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp.test_utils import TestClient
from playwright.async_api import WebSocketRoute, expect

from smartmob.app import build
from smartmob.settings import Settings
from tests import free_ports
from tests.conftest import MakeClient, serving_with
from tests.console.conftest import Look
from tests.console.labs import deploy
from tests.serving import ServiceServer

# One event loop for all of them, as the browser needs it.
pytestmark = [pytest.mark.timeout(900), pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", name="with_settings")
async def _with_settings(settings: Settings) -> AsyncIterator[MakeClient]:
    """Return a function that returns clients of services with other settings, in the event loop of the browser."""
    async with serving_with(settings) as make:
        yield make


@pytest_asyncio.fixture(loop_scope="module", name="client")
async def _client(with_settings: MakeClient) -> Any:
    """Return a client of a running service, in the event loop of the browser."""
    return await with_settings()


async def test_output_has_no_duplicates_after_a_reconnect(client: Any, look: Look) -> None:
    """After a lost connection, known lines are not repeated, and lines that were missed are shown."""
    watched = await look(client)
    connections: list[WebSocketRoute] = []

    def connect(route: WebSocketRoute) -> None:
        route.connect_to_server()
        connections.append(route)

    await watched.page.route_web_socket(re.compile("/attach-console/"), connect)
    await deploy(client)
    page = await watched.goto("/console/processes/app.web.0")
    output = page.locator("#console")
    await expect(output.locator(".c1")).to_have_count(1)
    await expect(output.locator(".stderr")).to_have_text(["to standard error"])
    await connections[0].close(code=1011)
    await expect(output).to_contain_text("the connection was lost")
    assert (await client.post("/restart-process/app.web.0")).status == 200
    await expect(output).to_contain_text("ended by signal 15")
    await expect(output.locator(".c1")).to_have_count(2)
    assert len(connections) == 2
    assert (await output.inner_text()).count("[smartmob] started") == 2


async def test_a_user_signs_in_and_out(with_settings: Any, look: Look) -> None:
    """Without a token there is only the login page; a wrong token is refused; signing out closes the pages again."""
    client = await with_settings(token="a-long-secret")
    watched = await look(client)
    watched.expected = ("403", "401")
    page = watched.page
    await page.goto(f"{watched.base}/console/hosts")
    await page.fill("#token", "wrong")
    await page.get_by_role("button", name="Sign in").click()
    await expect(page.get_by_role("alert")).to_contain_text("not a token")
    await page.fill("#token", "a-long-secret")
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_url("**/console/hosts")
    await page.wait_for_selector('#connection[data-state="live"]')
    await page.get_by_role("button", name="Sign out").click()
    await page.wait_for_url("**/login")
    await page.goto(f"{watched.base}/console/")
    await expect(page.locator("#token")).to_be_visible()


async def test_a_page_reconnects_after_a_restart(settings: Settings, look: Look) -> None:
    """A page shows that the service is away, and updates again when it is back."""
    first, port = build(settings), free_ports.single_port()
    async with TestClient(ServiceServer(first.app, first.gate, port=port)) as client:
        watched = await look(client)
        watched.expected = ("WebSocket connection", "ERR_CONNECTION")
        page = await watched.goto("/console/")
    await expect(page.locator("#connection")).to_contain_text("trying again")
    again = build(settings)
    async with TestClient(ServiceServer(again.app, again.gate, port=port)) as client:
        await deploy(client)
        await expect(page.locator("#connection")).to_have_text("live")
        await expect(page.locator("#processes")).to_contain_text("app.web.0")
        await expect(page.locator("#changes")).to_contain_text("app.web.0: created")


async def test_a_page_from_the_browser_cache_reconnects(client: Any, look: Look) -> None:
    """A page that the user left is disconnected, and connected again when the browser shows it from its cache."""
    page = await (await look(client)).goto("/console/")
    kept = "kind => dispatchEvent(new PageTransitionEvent(kind, { persisted: true }))"
    await page.evaluate(kept, "pagehide")
    async with page.expect_websocket() as opened:
        await page.evaluate(kept, "pageshow")
    await (await opened.value).wait_for_event("framereceived")
    await deploy(client)
    await expect(page.locator("#processes")).to_contain_text("app.web.0")
