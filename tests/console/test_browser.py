"""All pages in a real browser on a real service: their visible text, and the actions of a user."""

from __future__ import annotations

import itertools
import os
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from axe_playwright_python.async_playwright import Axe
from axe_playwright_python.base import AxeResults
from playwright.async_api import Page, expect

from smartmob.app import build
from smartmob.settings import Settings
from tests.conftest import MakeClient, running, serving_with
from tests.console.conftest import Look
from tests.console.labs import SLOW, deploy, fill, measure, report_load
from tests.hosts.samples import register, sample, talking
from tests.processes.archives import make_archive
from tests.turrets.capacity_searches import search_document
from tests.turrets.runs import ask
from tests.turrets.scripted import OctTurret, connected, where
from tests.waiting import until

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


SCREENSHOTS = os.environ.get("SCREENSHOTS")
"""A folder for screenshots of the pages, or None."""
WINDOWS = [
    (400, True),
    *([(400, False)] if SCREENSHOTS else []),
    (1280, False),
    *([(1280, True)] if SCREENSHOTS else []),
]
"""Widths of the window, and whether the colours are dark: each value once; with screenshots all pairs.

The window only grows: a page that was loaded in it would need a moment to become narrower.
"""
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
    "resultTypes": ["violations"],
    "preload": False,  # no page has style sheets of other origins or media, which are what would be loaded
}
"""The rules of axe that a page must pass; of those that it passes no details are gathered."""


async def test_login_and_docs_fit_the_window_and_are_accessible(client: Any, look: Look) -> None:
    """The login page and the page of the API pass the same checks."""
    page = (watched := await look(client)).page
    await _resize(page, *WINDOWS[0])
    await page.goto(f"{watched.base}/login")
    await _inspect_all(page, "login")
    await _resize(page, *WINDOWS[0])
    await page.goto(f"{watched.base}/docs")
    await _check_width(page, "docs")
    assert await page.evaluate(SHORTEN) == 2 * SHOWN
    await _inspect_all(page, "docs")
    await page.get_by_role("link", name="smartmob", exact=True).click()
    await page.wait_for_url("**/console/")
    await page.wait_for_selector('#connection[data-state="live"]')


SHOWN = 8
SHORTEN = f"""
    for (const kind of ["details:has(.verb)", "details:not(:has(.verb))"])
        [...document.querySelectorAll(kind)].slice({SHOWN}).forEach(node => node.remove());
    document.querySelectorAll("details").forEach(node => {{ node.open = true; }});
    document.querySelectorAll("details").length
"""
"""Leaves the first routes and types of the page of the API, opened: axe needs 8 s for all, which have the same form."""


async def _resize(page: Page, width: int, dark: bool) -> None:
    await page.set_viewport_size({"width": width, "height": 900})
    await page.emulate_media(color_scheme="dark" if dark else "light")


async def _inspect_all(page: Page, name: str) -> None:
    """Inspect a page in all windows, from the narrow one on, in which it was loaded."""
    for width, dark in WINDOWS:
        await _resize(page, width, dark)
        await _inspect(page, name, f"{width}-{'dark' if dark else 'light'}")


async def _check_width(page: Page, name: str) -> None:
    overflow = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    assert overflow <= 0, f"{name} is {overflow} px wider than the window"


async def _inspect(page: Page, name: str, way: str) -> None:
    await _check_width(page, name)
    assert not re.search(r"\b(undefined|NaN)\b", await page.locator("body").inner_text()), name
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(Axe().axe_script)
    found = AxeResults(await page.evaluate("rules => axe.run(rules)", RULES))
    assert found.violations_count == 0, f"{name}, {way}: {found.generate_report()}"
    if SCREENSHOTS:
        await page.screenshot(path=Path(SCREENSHOTS) / f"{name}-{way}.png", full_page=True)


async def test_the_frame_of_each_page_leads_everywhere(client: Any, look: Look) -> None:
    """Keys open pages and the search, breadcrumbs lead back, colours are chosen and kept, an unknown page leads on."""
    await measure(client)
    watched = await look(client)
    watched.expected = ("404",)
    page = await watched.goto("/console/")
    await page.keyboard.press("/")
    await page.keyboard.type("slow")
    await page.keyboard.press("Enter")
    await page.get_by_role("link", name=SLOW, exact=True).click()
    await page.wait_for_url(re.compile("/console/tests/items"))
    await page.get_by_role("navigation", name="Breadcrumbs").get_by_role("link", name="Tests").click()
    await page.wait_for_url(re.compile("/console/tests$"))
    await page.locator("#main").press("g")
    await page.locator("#main").press("m")
    await page.wait_for_url(re.compile("/console/hosts$"))
    await expect(page.locator("h1")).to_have_text("Machines")
    await page.locator("#main").press("?")
    await expect(page.get_by_role("dialog")).to_contain_text("Go to Programs")
    await page.keyboard.press("Escape")
    await expect(page.get_by_role("dialog")).to_have_count(0)

    await page.get_by_label("Colours").select_option("dark")
    surface = "getComputedStyle(document.querySelector('.bar')).backgroundColor"
    assert await page.evaluate(surface) == "rgb(22, 26, 33)"
    page = await watched.goto("/console/nothing")
    assert await page.evaluate(surface) == "rgb(22, 26, 33)"
    await expect(page.locator("#main")).to_contain_text("Page not found: there is no page /console/nothing.")
    await _inspect(page, "missing", "1280-dark")
    await page.get_by_label("Colours").select_option("system")
    assert await page.evaluate(surface) == "rgb(255, 255, 255)"


async def test_a_shared_link_shows_the_view_and_changes_nothing(with_settings: Any, look: Look) -> None:
    """A new browser opens the view by the link, as a reader; the token is not in the address afterwards."""
    client = await with_settings(token="a-long-secret")
    page = (watched := await look(client)).page
    await page.goto(f"{watched.base}/login?next=/console/timeline?span=300")
    await page.fill("#token", "a-long-secret")
    await page.get_by_role("button", name="Sign in").click()
    await page.wait_for_selector('#connection[data-state="live"]')
    await page.get_by_role("button", name="Share").click()
    address = await page.get_by_role("textbox", name="Link").input_value()
    assert "#" in address
    other = (await look(client)).page
    await other.goto(address)
    await other.wait_for_url(re.compile("/console/timeline"))
    await other.wait_for_selector('#connection[data-state="live"]')
    assert address.partition("#")[2] not in other.url
    await expect(other.locator(".foot")).to_contain_text(": read")
    await expect(other.get_by_role("button", name="Share")).to_have_count(0)
    await expect(other.locator("#mark-form")).to_be_hidden()


async def test_the_page_of_the_api_tries_requests(client: Any, look: Look) -> None:
    """Operations are grouped by feature; a form sends a request of the session and shows its answer."""
    page = (watched := await look(client)).page
    watched.expected = ("404",)
    await page.goto(f"{watched.base}/docs#health")
    await expect(page.get_by_role("heading", name="Metrics", exact=True)).to_have_count(1)
    form = page.locator("#health form.try")
    await page.locator("#health summary").click()
    await form.get_by_role("button", name="Try it").click()
    await expect(form.locator(".answer")).to_contain_text('200 OK\n{\n  "status": "ok"')
    form = page.locator("#run form.try")
    await page.locator("#run > summary").click()
    await form.get_by_label("id").fill("no/run")
    await form.get_by_role("button", name="Try it").click()
    await expect(form.locator(".answer")).to_contain_text("there is no run no/run")


async def test_the_words_of_verdicts_are_those_of_the_terminal(client: Any, look: Look) -> None:
    """The page of tests says slower, no change and still slower, and no key of the code."""
    await measure(client, runs=12, slower=3)
    watched = await look(client, width=400, dark=True)
    page = await watched.goto("/console/tests?base=8commit&head=10commit")
    comparison = page.locator("#comparison")
    await expect(comparison.locator("tbody tr").first).to_contain_text("slower")
    page = await watched.goto("/console/tests?base=10commit&head=11commit")
    await expect(comparison.locator("p").first).to_contain_text("still slower since 9commit")
    await expect(comparison.locator("tbody tr").first).to_contain_text(SLOW)
    await expect(comparison).to_contain_text("8 no change")
    shown = await page.locator("main").inner_text()
    assert not re.search(r"\b(noise|unfit|suspect|regression|improvement)\b", shown)
    await _inspect(page, "still-slower", "400-dark")
    page = await watched.goto("/console/")
    await expect(page.locator("#runs tbody tr").first).to_contain_text("still slower since 9commit")


async def test_the_overview_updates_by_itself(client: Any, look: Look) -> None:
    """New processes, test runs and notes appear without a reload."""
    page = await (await look(client)).goto("/console/")
    await expect(page.locator("#processes")).to_contain_text("smartmob run")
    await deploy(client)
    await expect(page.locator("#processes")).to_contain_text("running")
    await measure(client, runs=1, slower=0)
    await expect(page.locator("#runs")).to_contain_text("0commit")
    assert (await client.post("/marks", json={"text": "a <b>mark</b>"})).status == 201
    await expect(page.locator("#changes")).to_contain_text("a <b>mark</b>")


OLD = re.compile(r"2\.1 GB \([\d.]+ (min|h) old\)")
"""The last value of a storage, an hour and as long as the test takes after it was measured."""


async def test_an_old_field_is_marked(client: Any, look: Look) -> None:
    """The pages of machines show the last value with its age and the reason, and fields that are not stored."""
    await register(client)
    stale = {"storage": {"value": 2048, "age": 3600, "reason": "/data: No such file or directory"}, "mem": {}}
    async with talking(client) as talk:
        assert (await talk.send({**sample(), "mem": None, "storage": None, "stale": stale, "cpu_pct": 1}))["payload"]
    watched = await look(client)
    page = await watched.goto("/console/hosts")
    await expect(page.get_by_title("/data: No such file or directory")).to_have_text(OLD)
    await expect(page.get_by_text("not measured")).to_be_visible()
    page = await watched.goto("/console/hosts/wood")
    await expect(page.get_by_title("/data: No such file or directory")).to_have_text(OLD)
    await expect(page.get_by_text("cpu_pct")).to_be_visible()


async def test_curves_show_the_last_minutes_at_once(client: Any, look: Look) -> None:
    """The curve of a machine shows its stored samples when the page opens, and moves on with time."""
    await report_load(client)
    page = await (await look(client)).goto("/console/")
    curve = page.locator('[data-host="rack7"] .spark path:not(.area)')
    await expect(curve).to_have_attribute("d", re.compile("^M"))
    before = await curve.get_attribute("d")
    assert before is not None
    places = [float(place) for place in re.findall(r"[ML]([\d.]+),", before)]
    assert places[-1] - places[0] > 250  # of 300 seconds
    await expect(curve).not_to_have_attribute("d", before)


async def test_focus_and_scrolling_survive_updates(client: Any, look: Look) -> None:
    """The focus, the scroll position and a filter stay while values change, rows appear and rows disappear."""
    for node in ("web.0", "web.2"):
        await deploy(client, node)
    watched = await look(client, width=400)
    page = await watched.goto("/console/")
    await page.get_by_role("link", name="app.web.2", exact=True).focus()
    await page.evaluate("scrollTo(0, 200)")
    await deploy(client, "web.1")
    await expect(page.locator("#processes tbody tr")).to_have_count(3)
    assert await page.evaluate("document.activeElement.textContent") == "app.web.2"
    assert await page.evaluate("scrollY") == 200

    page = await watched.goto("/console/processes")
    await page.get_by_role("row", name="app.web.1").get_by_role("button", name="Delete").focus()
    assert (await client.post("/delete-process/app.web.0")).status == 200
    await expect(page.locator("#processes tbody tr")).to_have_count(2)
    await page.keyboard.press("Enter")
    await expect(page.get_by_role("dialog")).to_contain_text("app.web.1")
    await page.keyboard.press("Escape")


async def test_a_program_is_deployed_watched_and_deleted(client: Any, look: Look, tmp_path: Path) -> None:
    """A form deploys a program; its output has colours, search and pause; buttons restart and delete it."""
    archive = tmp_path / "app.tar.gz"
    archive.write_bytes(
        make_archive("tar.gz", {"Procfile": 'web: printf "\\033[31mred $COLOUR\\033[0m\\nother\\n"; exec sleep 600\n'})
    )
    page = await (await look(client)).goto("/console/processes")
    await page.set_input_files("input[name=archive]", archive)
    await page.fill("input[name=app]", "shop")
    await page.fill("input[name=count]", "2")
    await page.fill("textarea[name=env]", "COLOUR=wine=red")
    await page.get_by_role("button", name="Deploy").click()
    await expect(page.locator("#upload-said")).to_contain_text("shop.web.1")
    await page.locator("#processes").get_by_role("link", name="shop.web.0").click()

    output = page.locator("#console")
    await expect(output.locator(".c1")).to_have_text("red wine=red")
    await page.get_by_label("Search the output").fill("other")
    await expect(output.locator("div:not([hidden])")).to_have_text(["other"])
    await page.get_by_label("Search the output").fill("")
    await page.get_by_role("button", name="Pause").click()
    await page.get_by_role("button", name="Restart").click()
    await expect(page.locator("#console-tools")).to_contain_text("lines waiting")
    await page.get_by_role("button", name="Resume").click()
    await expect(output.locator(".c1")).to_have_count(2)

    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Cancel").click()
    await page.get_by_role("button", name="Delete").click()
    await page.get_by_role("dialog").get_by_role("button", name="Delete").click()
    await expect(page.locator("#summary")).to_contain_text("was deleted")
    async with client.get("/list-processes") as response:
        assert [row["slug"] for row in (await response.json())["processes"]] == ["shop.web.1"]


async def test_a_change_of_the_level_is_shown(client: Any, look: Look) -> None:
    """The page of tests lists a test whose level changed, and its page draws the change with the commit.

    A run whose time is not plausible is marked in the list of runs.
    """
    await measure(client, runs=20, slower=8)
    ahead = {"session_h": "a" * 32, "run_date": "2099-01-01T00:00:00", "scm_ref": "c", "description": "{}"}
    assert (await client.post("/sessions/", json=ahead)).status == 201
    watched = await look(client)
    page = await watched.goto("/console/tests")
    await expect(page.locator("#runs tbody tr", has_text="by arrival")).to_have_count(1)
    row = page.locator("#trends tbody tr")
    await expect(row).to_have_count(1)
    for text in ("12commit", SLOW, "slower", "2.00"):
        await expect(row).to_contain_text(text)
    await _inspect(page, "trends", "1280-light")
    await row.get_by_role("link", name=SLOW).click()
    await expect(page.locator("#trends tbody tr")).to_have_count(1)
    await expect(page.locator("#chart .annotation-text")).to_contain_text("12commit")
    await expect(page.locator("#chart .shapelayer path")).to_have_count(2)
    assert await page.locator("#problems").inner_text() == ""
    await _inspect(page, "change-point", "1280-light")


async def test_a_capacity_is_drawn(lab_settings: Settings, look: Look) -> None:
    """The page of load tests has the chart of the newest search, its result, and a link to its report."""
    async with running(build(lab_settings)) as client:
        async with client.post("/capacity-searches", json=search_document()) as response:
            assert response.status == 201
        page = await (await look(client)).goto("/console/load")
        await expect(page.locator("#searches tbody tr")).to_contain_text("20/s held p99<300ms in 3 of 3 steps")
        chart = page.get_by_role("img", name="Latency and errors of shop by rate")
        await expect(chart).to_have_js_property("complete", value=True)
        assert await chart.evaluate("node => node.naturalWidth") > 0
        assert await page.locator("#problems").inner_text() == ""
        await _inspect(page, "capacity", "1280-light")
        await page.set_viewport_size({"width": 400, "height": 800})
        assert await chart.evaluate("node => node.getBoundingClientRect().right") <= 400
        await page.get_by_role("link", name="shop").click()
        wide = "node => node.getBoundingClientRect().right > 401"
        assert await page.evaluate(f"[...document.querySelectorAll('*')].filter({wide}).length") == 0
        await expect(page.locator("h1")).to_contain_text("Capacity of shop")
        await expect(page.locator("svg circle[fill='#c8553d']")).to_have_count(3)
        await page.close()


async def test_a_load_test_is_watched_and_stopped(lab_settings: Settings, look: Look) -> None:
    """The page of a load test shows live values, stops the test, and then shows its results."""
    async with running(build(lab_settings)) as client, connected(OctTurret(*await where(client))) as turret:
        run = await ask(client, name="pages", run_time=600, min_turrets=1, results_ts_interval=1,
                        fail_if=["p99>1s", "count<1"])  # fmt: skip
        page = await (await look(client)).goto(f"/console/load/{run['id']}")
        await turret.until_told("start")
        await turret.fire(
            *({"elapsed": 0.1, "scriptrun_time": 0.05, "custom_timers": {"page": 0.03}} for _ in range(9))
        )
        await expect(page.locator("#summary")).to_contain_text("running")
        await expect(page.locator("#timers")).to_contain_text("page")
        await expect(page.locator("#turrets")).to_contain_text("Running")
        rows = page.locator("#conditions tbody tr")
        await expect(rows.nth(0)).to_contain_text("p99 50.0 ms <= 1.00 s, 95% left")
        await expect(rows.nth(1)).to_contain_text("count grows until the end")

        await page.get_by_role("button", name="Stop").click()
        await turret.until_told("stop")

        await expect(page.locator("#summary")).to_contain_text("can it be trusted?")
        await expect(page.locator("#summary")).to_contain_text("did not go as planned: stopped by request")
        await expect(page.locator("#timers tbody tr")).to_have_count(2)
        await expect(rows.nth(1)).to_contain_text("passed")
        await expect(page.locator("#chart .main-svg").first).to_be_visible()
        await page.get_by_role("link", name="Report").click()
        await expect(page.locator("h1").first).to_contain_text("pages")
        await page.close()


async def test_a_command_takes_input_and_is_killed(client: Any, look: Look) -> None:
    """A command that a form runs shows its output, takes input and is killed; its output remains stored."""
    page = await (await look(client)).goto("/console/commands")
    await page.fill("input[name=command]", "printf 'tea? '; read line; echo got $line; exec sleep 600")
    await page.get_by_role("button", name="Run").click()
    await page.wait_for_url(re.compile(r"/console/commands/\d+$"))
    await expect(page.locator("#console div")).to_have_text(["tea? "])
    await page.fill("input[name=line]", "<i>tea</i>")
    await page.get_by_role("button", name="Send").click()
    await expect(page.locator("#console div")).to_have_text(["tea? got <i>tea</i>"])
    await page.get_by_role("button", name="Kill").click()
    await page.get_by_role("dialog").get_by_role("button", name="Kill").click()
    await expect(page.locator("#summary")).to_contain_text("signaled")
    await page.reload()
    await expect(page.locator("#console")).to_contain_text("got <i>tea</i>")


async def test_a_command_runs_on_several_machines(with_settings: Any, look: Look, tmp_path: Path) -> None:
    """Each machine has its own panel, and an unreachable one shows an error."""
    from smartmob.feature_settings import ConsoleSettings

    other = await with_settings(data_dir=tmp_path / "other")
    peers = (f"http://127.0.0.1:{other.server.port}", "http://127.0.0.1:1")
    client = await with_settings(console=ConsoleSettings(peers=peers))
    watched = await look(client)
    watched.expected = ("503",)
    page = await watched.goto("/console/commands")
    for box in await page.get_by_role("checkbox").all():
        await box.check()
    await page.fill("input[name=command]", "echo hello from $$")
    await page.get_by_role("button", name="Run").click()
    windows = page.locator("[data-place]")
    await expect(windows).to_have_count(3)
    await expect(windows.nth(0)).to_contain_text("hello from")
    await expect(windows.nth(1)).to_contain_text("hello from")
    await expect(windows.nth(1)).to_contain_text("exited 0")
    await expect(windows.nth(2)).to_contain_text("cannot be reached")


async def test_the_timeline_is_zoomed_and_linked(client: Any, look: Look) -> None:
    """Zooming loads new data, the address keeps the view, the pointer shows a point in time, and a note is added."""
    await fill(client)
    page = await (await look(client)).goto("/console/timeline?span=3600")
    await page.wait_for_selector(".main-svg")
    async with page.expect_response(lambda response: "/console/data/timeline" in response.url):
        await page.get_by_role("button", name="Zoom in").click()
    await page.wait_for_url(re.compile(r"from=[\d.]+&to=[\d.]+"))
    linked = page.url
    await page.goto(linked)
    await page.wait_for_selector(".main-svg")
    start, end = (float(part) for part in re.findall(r"=([\d.]+)", page.url))
    assert end - start == pytest.approx(1800, abs=1)
    box = await page.locator("#chart").bounding_box()
    assert box is not None
    left, places = box["x"] + box["width"] * 0.5, itertools.cycle(range(50))

    async def is_pointed_at() -> bool:
        # A chart that is drawn anew in this moment does not see the pointer.
        await page.mouse.move(left + next(places), box["y"] + 60)
        return ":" in await page.locator("#moment").inner_text()

    await until(is_pointed_at)
    await page.fill("#mark-form input[name=text]", "zoomed")
    await page.get_by_role("button", name="Put on the timeline").click()

    async def is_stored() -> bool:
        async with client.get("/marks") as response:
            return "zoomed" in [mark["text"] for mark in (await response.json())["marks"]]

    await until(is_stored)
