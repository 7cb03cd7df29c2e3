"""The routes of the console: pages, static files, documents, and the live WebSocket."""

from __future__ import annotations

import asyncio
import gzip
import re
from collections.abc import Callable
from typing import Any

import orjson

from smartmob.console import assets
from smartmob.console.pages import NAVIGATION
from smartmob.processes.model import RUNNING
from tests.console.labs import SLOW, deploy, fill, measure
from tests.each import each
from tests.waiting import SECONDS, until

PAGES = (*(entry.href for entry in NAVIGATION), "/console/tests/items")
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


@each("path", PAGES)
async def test_pages_work_in_an_empty_lab(client: Any, path: str) -> None:
    """Each page exists before anything was stored, has no inline script, and marks its entry in the navigation."""
    text = await _page(client, path)
    assert not re.search(r"<script(?![^>]* src=)", text)
    assert " style=" not in text and " onclick=" not in text
    assert text.count('aria-current="page"') == 1


async def test_browsers_are_sent_to_the_console(client: Any) -> None:
    """A browser is redirected, and a program gets the same document as ever."""
    async with client.get("/", headers=_BROWSER, allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/console/")
    async with client.get("/console", allow_redirects=False) as response:
        assert (response.status, response.headers["Location"]) == (303, "/console/")
    async with client.get("/") as response:
        assert sorted(await response.json()) == ["create", "list"]


async def test_each_item_has_a_page(client: Any) -> None:
    """A test run, a process, a job and a machine have a page each; an unknown one answers 404."""
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
    """A name with markup is shown as text."""
    name = 'a<img src=x onerror="alert(1)">'
    async with client.post("/client", json={"username": name, "password": "x"}) as response:
        assert response.status == 200
    text = await _page(client, "/console/hosts/" + name.replace("<", "%3C").replace('"', "%22").replace(" ", "%20"))
    assert "<img" not in text
    assert "a&lt;img src=x" in text


async def test_static_files_are_immutable_and_compressed(client: Any) -> None:
    """The address of a file changes with its content, so browsers may keep it."""
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
    assert plotly is not None and gzip.decompress(plotly.packed) == plotly.plain()


@each(
    "path",
    [
        "/console/static/{digest}/nothing.js",
        "/console/static/0000000000000000/console.css",
        "/console/static/{digest}/..%2Fservice.py",
        "/console/static/{digest}/%2Fetc%2Fpasswd",
        "/console/static/{digest}/charts.js%00.css",
    ],
)
async def test_unknown_static_files_are_not_found(client: Any, path: str) -> None:
    """No path leaves the folder, and an old digest finds nothing."""
    async with client.get(path.format(digest=assets.digest())) as response:
        assert response.status in (400, 404)


async def test_the_overview_has_curves_runs_and_changes(client: Any) -> None:
    """The overview has time series of the last minutes, test runs with verdicts, and changes, newest first."""
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


async def test_the_timeline_has_the_data_of_all_features(client: Any) -> None:
    """The timeline has time series, spans of tests, processes and jobs, and notes."""
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


@each(
    "query", [{"from": "5", "to": "5"}, {"from": "x"}, {"points": "0"}, {"points": "99999"}, {"from": "0", "to": "4e9"}]
)
async def test_an_invalid_timeline_query_is_refused(client: Any, query: dict[str, str]) -> None:
    """An empty or too long span, or a bad number, answers 400."""
    async with client.get("/console/data/timeline", params=query) as response:
        assert response.status == 400


async def test_a_timeline_of_the_past_is_empty(client: Any) -> None:
    """A span before all data is empty, and the beginning of the calendar causes no error."""
    for query in ({"from": "1000", "to": "2000"}, {"to": "0001-01-01T00:00:00Z"}):
        async with client.get("/console/data/timeline", params=query) as response:
            document = await response.json()
        if response.status == 200:
            assert document["spans"] == []
        else:
            assert response.status == 400


async def test_the_socket_sends_the_state_each_second(client: Any) -> None:
    """The first frame comes at once, and `news` changes when something happens."""
    async with client.ws_connect("/console/live") as socket:
        first = orjson.loads((await socket.receive(timeout=SECONDS)).data)
        await deploy(client)

        async def until_running() -> dict[str, Any]:
            while True:
                frame: dict[str, Any] = orjson.loads((await socket.receive(timeout=SECONDS)).data)
                # The state may be newer than the number in its frame; the next frame has the new one.
                if [row["state"] for row in frame["processes"]] == [RUNNING] and frame["news"] != first["news"]:
                    return frame

        last = await asyncio.wait_for(until_running(), SECONDS)
    assert first["processes"] == []
    assert [host["own"] for host in last["hosts"]] == [True]


async def test_a_stuck_viewer_delays_no_other(client: Any) -> None:
    """A viewer that does not read does not delay the frames of another one."""
    async with client.ws_connect("/console/live"), client.ws_connect("/console/live") as reading:
        frames = [orjson.loads((await reading.receive(timeout=SECONDS)).data)["at"] for _ in range(3)]
    assert frames == sorted(set(frames))


async def test_the_socket_refuses_plain_requests(client: Any) -> None:
    """A request that is no WebSocket upgrade answers 426."""
    async with client.get("/console/live") as response:
        assert response.status == 426


async def test_the_socket_refuses_foreign_origins(client: Any) -> None:
    """A WebSocket request with the origin of another site answers 403."""
    async with client.get(
        "/console/live", headers={"Upgrade": "websocket", "Connection": "upgrade", "Origin": "http://evil.example"}
    ) as response:
        assert response.status == 403


async def test_a_token_protects_pages_documents_and_the_socket(with_settings: Callable[..., Any]) -> None:
    """Pages redirect to the login, and documents and the socket answer 401."""
    client = await with_settings(token="secret")
    async with client.get("/console/timeline?span=60", headers=_BROWSER, allow_redirects=False) as response:
        assert response.status == 303
        assert response.headers["Location"].startswith("/login?next=")
    for path in ("/console/data/overview", "/console/data/timeline", "/console/live", "/console/peers"):
        async with client.get(path) as response:
            assert response.status == 401
    async with client.get("/console/", headers={"Authorization": "Bearer secret"}) as response:
        assert 'action="/logout"' in await response.text()


async def test_the_overview_counts_the_metrics_of_a_run(client: Any) -> None:
    """The overview has the number of metrics of each test run."""
    await measure(client, runs=1, slower=0)
    async with client.get("/console/data/overview") as response:
        found = await response.json()
    assert [run["metrics"] for run in found["runs"]] == [9]
