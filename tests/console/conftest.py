"""Fixtures of the tests of the console: settings of a headquarters, and pages in a browser."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

import pytest
import pytest_asyncio
from playwright.async_api import Browser, BrowserContext, Error, Page, async_playwright, expect

from smartmob.feature_settings import TurretsSettings
from smartmob.settings import Settings

PROGRAMS = ("chromium-headless-shell", "chromium", "chromium-browser", "google-chrome")
"""Programs of the browser, the preferred first: the shell without windows takes half the processor time."""
_PAGE_MILLISECONDS = 800_000.0
"""The time that a page may take on a busy machine."""
expect.set_options(timeout=_PAGE_MILLISECONDS)

FREE_PORTS = TurretsSettings(hq=True, hq_publish_port=0, hq_rc_port=0, hq_external_port=0)


@pytest.fixture(name="lab_settings")
def _lab_settings(settings: Settings) -> Settings:
    """Return the settings of a service that is also a headquarters."""
    return replace(settings, turrets=FREE_PORTS)


_ABORTED = "net::ERR_NETWORK_CHANGED"
"""The error of requests that Chromium aborts because an interface of the machine changed."""


class Watched:
    """A page of the browser that collects its errors in `faults`."""

    def __init__(self, page: Page, base: str) -> None:
        self.page = page
        self.base = base
        self.faults: list[str] = []
        self.expected: tuple[str, ...] = ()
        self._aborted = asyncio.Event()
        page.on("console", self._on_message)
        page.on("pageerror", lambda error: self.faults.append(f"error: {error}"))
        page.on("request", self._on_request)

    async def goto(self, path: str) -> Page:
        """Open a page, and return it when it shows that it is connected.

        It is opened again if Chromium aborts its requests, as it does while other tests change the network.
        """
        faults = len(self.faults)
        while not await self._is_live(path):
            del self.faults[faults:]
        return self.page

    async def _is_live(self, path: str) -> bool:
        """Open a page and wait until it is connected; return False if its requests were aborted."""
        self._aborted.clear()
        try:
            await self.page.goto(self.base + path)
        except Error as error:
            if _ABORTED not in error.message:
                raise
            return False
        create_task = asyncio.get_running_loop().create_task
        live = create_task(self.page.wait_for_selector('#connection[data-state="live"]', timeout=_PAGE_MILLISECONDS))
        aborted = create_task(self._aborted.wait())
        await asyncio.wait((live, aborted), return_when=asyncio.FIRST_COMPLETED)
        if aborted.done():
            live.cancel()
            with suppress(asyncio.CancelledError, Error):
                await live
            return False
        aborted.cancel()
        await live
        return True

    def _on_message(self, message: Any) -> None:
        if _ABORTED in message.text:
            self._aborted.set()
        elif message.type in ("error", "warning") and not any(words in message.text for words in self.expected):
            self.faults.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Any) -> None:
        if not request.url.startswith((self.base, self.base.replace("http", "ws", 1), "data:", "blob:")):
            self.faults.append(f"requested {request.url}")


def chromium() -> str:
    """Return the path of the browser. Raises FileNotFoundError."""
    for name in PROGRAMS:
        if found := shutil.which(name):
            return found
    raise FileNotFoundError(
        "the pages are tested in Chromium, which is not installed: apt-get install chromium-headless-shell "
        "(or `make browser` as root)"
    )


@asynccontextmanager
async def browsing() -> AsyncIterator[Browser]:
    """Run a browser."""
    arguments = ["--disable-dev-shm-usage", *(["--no-sandbox"] if os.geteuid() == 0 else [])]
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium(), args=arguments)
        yield browser
        await browser.close()


Look = Callable[..., Awaitable[Watched]]


@pytest_asyncio.fixture(loop_scope="module", scope="module", name="browser")
async def _browser() -> AsyncIterator[Browser]:
    """Run one browser for the tests of a module; each page has its own cookies and cache."""
    async with browsing() as browser:
        yield browser


@pytest_asyncio.fixture(loop_scope="module", name="look")
async def _look(browser: Browser) -> AsyncIterator[Look]:
    """Return a function that opens pages of a service; a test in which a page has errors fails at its end."""
    opened: list[tuple[BrowserContext, Watched]] = []

    async def look(client: Any, *, width: int = 1280, dark: bool = False, **more: Any) -> Watched:
        context = await browser.new_context(
            viewport={"width": width, "height": 900}, color_scheme="dark" if dark else "light", **more
        )
        context.set_default_timeout(_PAGE_MILLISECONDS)
        watched = Watched(await context.new_page(), f"http://127.0.0.1:{client.server.port}")
        opened.append((context, watched))
        return watched

    yield look
    for context, _ in opened:
        await context.close()
    for _, watched in opened:
        assert watched.faults == []
