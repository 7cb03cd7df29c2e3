"""The order in which a browser loads a page: what takes the page's time comes after the requests for its data."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from smartmob.settings import Settings
from tests.conftest import MakeClient, serving_with
from tests.console.conftest import Look

# One event loop for all of them, as the browser needs it.
pytestmark = [pytest.mark.timeout(900), pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="module")]

_NOTE_REQUESTS = """
window.asked = [];
const original = window.fetch;
window.fetch = (...given) => { window.asked.push(String(given[0])); return original(...given); };
"""
_LIBRARY = """
window.askedBefore = [...window.asked];
window.Plotly = { react: async (node) => { node.on = () => {}; } };
"""
"""A chart library that notes what the page has asked for before it runs."""


@pytest_asyncio.fixture(loop_scope="module", name="with_settings")
async def _with_settings(settings: Settings) -> AsyncIterator[MakeClient]:
    """Return a function that returns clients of services with other settings, in the event loop of the browser."""
    async with serving_with(settings) as make:
        yield make


async def test_a_page_asks_for_its_data_before_the_chart_library_runs(with_settings: Any, look: Look) -> None:
    """The library takes as long to run as the service to answer, and both go on at the same time."""
    watched = await look(await with_settings())
    await watched.page.add_init_script(_NOTE_REQUESTS)
    # The browser has the library at once, as from its cache.
    await watched.page.route(
        "**/plotly.min.js", lambda route: route.fulfill(body=_LIBRARY, content_type="text/javascript")
    )

    await watched.page.goto(f"{watched.base}/console/timeline")

    before = await watched.page.wait_for_function("window.askedBefore")
    assert any("/console/data/timeline?" in url for url in await before.json_value())
