"""Pages, what they load and what they ask for, over HTTP."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Callable
from typing import Any

import orjson
import pytest

from smartmob.console import assets
from smartmob.console.pages import PLACES
from smartmob.processes.model import RUNNING
from tests.console.labs import SLOW, deploy, fill, measure
from tests.waiting import until

PAGES = (*(place.href for place in PLACES), "/console/tests/items")
_BROWSER = {"Accept": "text/html,*/*"}


async def _page(client: Any, path: str) -> str:
    async with client.get(path) as response:
        text = await response.text()
        assert response.status == 200, text
        assert response.content_type == "text/html"
        policy = response.headers["Content-Security-Policy"]
        assert "default-src 'none'; script-src 'self'; style-src 'self'" in policy
        assert "unsafe" not in policy
        return text


@pytest.mark.parametrize("path", PAGES)
async def test_pages_of_an_empty_lab(client: Any, path: str) -> None:
    """Each is there before anything has happened, has no script of its own, and knows its place."""
    text = await _page(client, path)
    assert not re.search(r"<script(?![^>]* src=)", text)
    assert " style=" not in text and " onclick=" not in text
    assert text.count('aria-current="page"') == 1


async def test_browsers_are_sent_to_the_console(client: Any) -> None:
    """And programs get the document that they always got."""
    async with client.get("/", headers=_BROWSER, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/console/")
    async with client.get("/console", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/console/")
    async with client.get("/") as response:
        assert sorted(await response.json()) == ["create", "list"]


async def test_pages_of_things(client: Any) -> None:
    """A test run, a program, a job and a machine have a page each; what is not there has none."""
    await fill(client)
    for path in (
        *("/console/tests/runs/s0", "/console/processes/app.web.0", "/console/hosts/rack7"),
        *("/console/commands/1", "/console/tests/items?path=tests.test_it&variant=test_slow"),
    ):
        await _page(client, path)
    for path in (
        *("/console/tests/runs/x", "/console/processes/x", "/console/hosts/x", "/console/commands/99"),
        *("/console/commands/x", "/console/commands/²", "/console/load/00000000-0000-7000-8000-000000000000"),
    ):
        async with client.get(path) as response:
            assert response.status == 404, path
            assert response.content_type == "application/problem+json"


async def test_names_are_text_in_pages(client: Any) -> None:
    """Whatever a machine calls itself is shown and not run."""
    name = 'a<img src=x onerror="alert(1)">'
    async with client.post("/client", json={"username": name, "password": "x"}) as response:
        assert response.status == 200
    text = await _page(client, "/console/hosts/" + name.replace("<", "%3C").replace('"', "%22").replace(" ", "%20"))
    assert "<img" not in text
    assert "a&lt;img src=x" in text


async def test_files_are_kept_for_ever_and_compressed(client: Any) -> None:
    """Their address changes with their content, so nobody needs to ask twice."""
    text = await _page(client, "/console/timeline")
    paths = re.findall(r"/console/static/[\w.-]+/[\w.-]+", text)
    assert len(set(paths)) >= 5
    for path in set(paths):
        async with client.get(path) as response:
            assert response.status == 200
            assert "immutable" in response.headers["Cache-Control"]
            assert response.headers["Content-Encoding"] == "gzip"
            content = await response.read()
        async with client.get(path, headers={"Accept-Encoding": "identity"}) as response:
            assert "Content-Encoding" not in response.headers
            assert await response.read() == content
    plotly = assets.asset(assets.PLOTLY)
    assert plotly is not None and gzip.decompress(plotly.packed) == plotly.plain


@pytest.mark.parametrize(
    "path",
    [
        "/console/static/{digest}/nothing.js",
        "/console/static/0000000000000000/console.css",
        "/console/static/{digest}/..%2Fservice.py",
        "/console/static/{digest}/%2Fetc%2Fpasswd",
        "/console/static/{digest}/charts.js%00.css",
    ],
)
async def test_files_that_are_not_there(client: Any, path: str) -> None:
    """No path leaves the folder, and an old address is no file."""
    async with client.get(path.format(digest=assets.digest())) as response:
        assert response.status in (400, 404)


async def test_the_overview(client: Any) -> None:
    """Curves of the last minutes, test runs with their verdicts, and what changed."""
    await fill(client)
    async with client.get("/console/data/overview") as response:
        found = await response.json()
    assert "rack7" in [course["host"] for course in found["courses"]["hosts"]]
    assert all(len(course["cpu"]) == len(found["courses"]["times"]) for course in found["courses"]["hosts"])
    assert [run["id"] for run in found["runs"]] == [f"s{n}" for n in range(7, -1, -1)]
    verdicts = {run["id"]: run["verdict"] for run in found["runs"]}
    assert verdicts["s6"] in ("suspect", "regression")
    kinds = {change["kind"] for change in found["changes"]}
    assert kinds >= {"process", "tests", "job", "host", "mark"}
    times = [change["at"] for change in found["changes"]]
    assert times == sorted(times, reverse=True)
    assert any("exited 3" in change["text"] for change in found["changes"])


async def test_the_timeline(client: Any) -> None:
    """All features on one axis: curves, spans of tests, programs and jobs, and notes."""
    await fill(client)

    async def running() -> bool:
        async with client.get("/process-status/app.web.0") as response:
            return (await response.json())["state"] == RUNNING

    await until(running)
    async with client.get("/console/data/timeline") as response:
        found = await response.json()
    lanes = {span["lane"] for span in found["spans"]}
    assert lanes >= {"test runs", "tests", "jobs", "process app.web.0"}
    assert sum(span["lane"] == "tests" and span["label"] == SLOW for span in found["spans"]) == 8
    (process,) = (span for span in found["spans"] if span["lane"] == "process app.web.0")
    assert process["end"] is None
    assert [mark["text"] for mark in found["marks"]] == ["new <b>kernel</b>"]
    assert found["partial"] == []


@pytest.mark.parametrize(
    "query",
    [{"from": "5", "to": "5"}, {"from": "x"}, {"points": "0"}, {"points": "99999"}, {"from": "0", "to": "4e9"}],
)
async def test_a_timeline_that_cannot_be(client: Any, query: dict[str, str]) -> None:
    """It is refused, and says which part does not fit."""
    async with client.get("/console/data/timeline", params=query) as response:
        assert response.status == 400


async def test_a_timeline_without_anything(client: Any) -> None:
    """Long ago, and where times begin."""
    for query in ({"from": "1000", "to": "2000"}, {"to": "0001-01-01T00:00:00Z"}):
        async with client.get("/console/data/timeline", params=query) as response:
            document = await response.json()
        if response.status == 200:
            assert document["spans"] == []
        else:
            assert response.status == 400


async def test_the_socket_shows_the_lab(client: Any) -> None:
    """One frame at once and one a second; it tells when something has happened."""
    async with client.ws_connect("/console/live") as socket:
        first = orjson.loads((await socket.receive(timeout=10)).data)
        await deploy(client)

        async def until_running() -> dict[str, Any]:
            while True:
                frame: dict[str, Any] = orjson.loads((await socket.receive(timeout=10)).data)
                if [row["state"] for row in frame["processes"]] == [RUNNING]:
                    return frame

        last = await asyncio.wait_for(until_running(), 30)
    assert first["processes"] == []
    assert last["news"] != first["news"]
    assert [host["own"] for host in last["hosts"]] == [True]


async def test_many_watch_and_one_is_stuck(client: Any) -> None:
    """Who does not read holds up nobody."""
    async with client.ws_connect("/console/live"), client.ws_connect("/console/live") as reading:
        frames = [orjson.loads((await reading.receive(timeout=10)).data)["at"] for _ in range(3)]
    assert frames == sorted(set(frames))


async def test_the_socket_wants_a_websocket(client: Any) -> None:
    """A plain request is told so."""
    async with client.get("/console/live") as response:
        assert response.status == 426


async def test_a_foreign_page_may_not_watch(client: Any) -> None:
    """Its origin tells."""
    async with client.get(
        "/console/live", headers={"Upgrade": "websocket", "Connection": "upgrade", "Origin": "http://evil.example"}
    ) as response:
        assert response.status == 403


async def test_with_a_token(with_settings: Callable[..., Any]) -> None:
    """Pages send to the login, documents and the socket are refused, files are open to the login page's style."""
    client = await with_settings(token="secret")
    async with client.get("/console/timeline?span=60", headers=_BROWSER, allow_redirects=False) as response:
        assert response.status == 303
        assert response.headers["Location"].startswith("/login?next=")
    for path in ("/console/data/overview", "/console/data/timeline", "/console/live", "/console/peers"):
        async with client.get(path) as response:
            assert response.status == 401
    async with client.get("/console/", headers={"Authorization": "Bearer secret"}) as response:
        assert 'action="/logout"' in await response.text()


async def test_courses_of_a_load_test_in_the_overview(client: Any) -> None:
    """A lab in which no machine reports but the service's own has at least that one."""
    await measure(client, runs=1, slower=0)
    async with client.get("/console/data/overview") as response:
        found = await response.json()
    assert [run["metrics"] for run in found["runs"]] == [9]
