"""Actions of a user on the pages: sorting, comparing, pointing at a chart, wrong input, and a lost connection."""

from __future__ import annotations

import itertools
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
from tests.conftest import running
from tests.console.conftest import Look
from tests.console.labs import SLOW, deploy, fill, measure
from tests.metrics.samples import context, metric, session
from tests.serving import ServiceServer
from tests.turrets.runs import ask, until_over
from tests.turrets.scripted import OctTurret, connected, where
from tests.waiting import until

pytestmark = [pytest.mark.timeout(900), pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="module")]


@pytest_asyncio.fixture(loop_scope="module", name="lab")
async def _lab(settings: Settings) -> AsyncIterator[Any]:
    """Return a client of a service with some data of each feature."""
    async with running(build(settings)) as client:
        await fill(client)
        yield client


async def test_runs_are_sorted_filtered_and_compared(lab: Any, look: Look) -> None:
    """The list has verdicts, is sorted by its heads and filtered by a text, and two ticked runs are compared."""
    page = await (await look(lab)).goto("/console/tests")
    rows = page.locator("#runs tbody tr")
    await expect(rows).to_have_count(8)
    # The words of verdicts are their own; the level is what the list shows in red.
    await expect(rows.nth(0).locator(".badge.bad, .badge.warning").first).to_be_visible()
    await page.locator("#runs").get_by_role("button", name="Commit").click()
    await expect(rows.nth(0)).to_contain_text("0commit")
    await expect(page.locator("#runs th[aria-sort=ascending]")).to_have_text("Commit")
    await page.locator("#runs").get_by_role("button", name="Commit").click()
    await expect(rows.nth(0)).to_contain_text("7commit")
    await page.locator("#runs").get_by_label("Filter the table").fill("3commit")
    await expect(page.locator("#runs tbody tr:visible")).to_have_count(1)
    await expect(page.locator("#runs .filter-status")).to_have_text("1 of 8")
    # A new run does not undo what the user has chosen.
    sent = session("s9", run_date="2026-01-01T00:00:00Z", scm_ref="33commit", description={})
    assert (await lab.post("/sessions/", json=sent)).status == 201
    await expect(page.locator("#runs .filter-status")).to_have_text("2 of 9")
    # A user who was elsewhere finds the list as it was.
    await page.reload()
    await expect(page.locator("#runs .filter-status")).to_have_text("2 of 9")
    await expect(page.locator("#runs th[aria-sort=descending]")).to_have_text("Commit")
    await page.locator("#runs").get_by_label("Filter the table").fill("")
    compare = page.get_by_role("button", name="Compare the two selected")
    await compare.click()
    await expect(page.get_by_text("Select two runs to compare.")).to_be_visible()
    for commit in ("7commit", "3commit"):
        await page.locator("#runs tbody tr", has=page.get_by_text(commit, exact=True)).get_by_role("checkbox").check()
    await compare.click()
    row = page.locator("#comparison tbody tr:visible")
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text(SLOW)
    for text in ("Base101.0 ms", "Head", "Usual"):
        name = text.partition("1")[0]
        await expect(row.locator(f'td[data-label="{name}"]')).to_contain_text(" ms")
    await expect(row.get_by_role("img")).to_have_attribute("aria-label", re.compile("8 runs, from 10\\d.0 ms to 2"))
    assert await page.locator("#base-runs, #known-runs option").count() >= 16
    await expect(page.locator("input[name=base]")).to_have_value("s3")
    await expect(page.locator("input[name=head]")).to_have_value("s7")


async def test_the_page_of_a_test_has_axes_measures_and_verdicts(lab: Any, look: Look) -> None:
    """Points are drawn by time or by run, for each measure, and those that became slower are triangles."""
    page = await (await look(lab)).goto(f"/console/tests/items?path=tests.test_it&variant={SLOW}")
    triangles = (
        "() => document.getElementById('chart').data?.[0].marker.symbol.filter((one) => one === 'triangle-up').length"
    )
    await page.wait_for_function(f"{triangles} >= 1")
    await page.get_by_role("button", name="By run").click()
    await expect(page.locator("#chart .xtick text").first).to_have_text("0commit")
    assert await page.locator("#chart .point").count() == 8
    await page.locator("#tools").get_by_role("button", name="Memory").click()
    await expect(page.locator("#chart .ytitle")).to_have_text("MB")
    await expect(page.locator("#tools").get_by_role("button", name="Memory")).to_have_attribute("aria-pressed", "true")


async def test_a_moment_of_the_timeline_is_read_at_the_pointer(lab: Any, look: Look) -> None:
    """A line and a card follow the pointer, and a test run that became slower is a red bar."""
    page = await (await look(lab)).goto("/console/timeline?span=3600")
    await page.wait_for_selector("#chart .main-svg")
    red = """() => document.getElementById("chart").data.find((trace) => trace.name === "bad")?.customdata.length"""
    await page.wait_for_function(f"{red} >= 1")
    box = await page.locator("#chart .xy .bg, #chart .bglayer rect").first.bounding_box()
    assert box is not None
    card, x, heights = page.locator(".hover-card"), box["x"] + box["width"] * 0.97, itertools.cycle(range(20, 40))

    async def is_read() -> bool:
        # A chart that is drawn anew in this moment does not see the pointer.
        await page.mouse.move(x, box["y"] + next(heights))
        return "rack7 50.0 %" in " ".join(await card.all_inner_texts())

    await until(is_read)
    line = await page.locator(".crosshair").bounding_box()
    assert line is not None and abs(line["x"] - x) < 3 and line["height"] > 300
    await page.mouse.move(5, 5)
    await expect(card).to_be_hidden()
    await page.get_by_label("Go to").fill("2026-01-02T03:04:05")
    await page.wait_for_url(re.compile(r"from=17673"))
    await page.fill("#mark-form input[name=text]", "dated")
    await page.fill("#mark-form input[name=at]", "2026-01-02T03:04:05")
    await page.get_by_role("button", name="Put on the timeline").click()
    await expect(page.locator("#marks")).to_contain_text("dated")


async def test_load_tests_have_one_entry_of_the_legend(lab_settings: Settings, look: Look) -> None:
    """The three lines of a load test are one entry of the legend, and the form to start one is there with a turret."""
    async with running(build(lab_settings)) as client:
        watched = await look(client)
        page = await watched.goto("/console/load")
        await expect(page.locator("#fire-form")).to_be_hidden()
        await expect(page.locator("#start-words")).to_contain_text("once a turret is connected")
        async with connected(OctTurret(*await where(client))) as turret:
            for name in ("first", "second"):
                heard = len(turret.orders)
                run = await ask(client, name=name, run_time=1, results_ts_interval=1)
                await turret.until_told("start", after=heard)
                await turret.fire(*({"elapsed": 0.5, "scriptrun_time": 0.05} for _ in range(3)))
                await until_over(client, run["id"])
            await page.reload()
            await expect(page.locator("#fire-form")).to_be_visible()
        await watched.goto("/console/timeline?span=300")
        await page.wait_for_selector("#chart .main-svg")
        entries = await page.locator("#chart .legendtext").all_text_contents()
        assert sorted(entries)[:2] == ["first", "second"] and len(entries) == len(set(entries))
        await page.close()  # before the service, whose end it would notice


async def test_a_live_load_test_goes_on_after_a_lost_connection(lab_settings: Settings, look: Look) -> None:
    """The page of a running load test connects again, and does not take the interruption for the end of the run."""
    async with running(build(lab_settings)) as client, connected(OctTurret(*await where(client))) as turret:
        run = await ask(client, name="long", run_time=600, results_ts_interval=1)
        await turret.until_told("start")
        watched = await look(client)
        connections: list[WebSocketRoute] = []

        def connect(route: WebSocketRoute) -> None:
            route.connect_to_server()
            connections.append(route)

        await watched.page.route_web_socket(re.compile("/turret-runs/.*/live"), connect)
        page = await watched.goto(f"/console/load/{run['id']}")
        await turret.fire({"elapsed": 0.5, "scriptrun_time": 0.05})
        await expect(page.locator("#timers tbody tr").first.locator("td").nth(1)).to_have_text("1")
        await connections[0].close(code=1011)
        await turret.fire({"elapsed": 1.5, "scriptrun_time": 0.05})
        await expect(page.locator("#timers tbody tr").first.locator("td").nth(1)).to_have_text("2")
        assert len(connections) == 2
        await expect(page.locator("#summary")).to_contain_text("running")
        await page.get_by_role("button", name="Stop").click()
        await expect(page.locator("#summary")).to_contain_text("can it be trusted?")
        await page.close()  # before the service, whose end it would notice


async def test_a_wrong_value_is_explained_beside_its_field(lab: Any, look: Look) -> None:
    """The message stands in the label of the field, which has the focus; it is gone once the value is right."""
    watched = await look(lab)
    watched.expected = ("400",)
    page = await watched.goto("/console/processes")
    form = page.locator("#create-form")
    await form.locator("input[name=app]").fill("shop")
    await form.get_by_role("button", name="Deploy").click()
    await expect(form.locator("label", has_text="Archive")).to_contain_text("Choose an archive, or give its address.")
    await form.locator("input[name=source_url]").fill("ftp://builds.example.com/x.tar")
    await form.get_by_role("button", name="Deploy").click()
    await expect(form.locator(".field-error")).to_have_text(["expected an http:// or https:// address"])
    await expect(form.locator("input[name=source_url]")).to_be_focused()
    await expect(form.locator("input[name=source_url]")).to_have_attribute("aria-invalid", "true")
    await form.locator("textarea[name=env]").fill("no equals sign")
    await form.get_by_role("button", name="Deploy").click()
    await expect(form.locator(".field-error")).to_have_text(["“no equals sign” is not of the form NAME=value"])
    assert await page.locator("#problems").inner_text() == ""


async def test_a_lost_connection_is_told_once(settings: Settings, look: Look) -> None:
    """The page is dimmed and says since when, in one message; with the service back it is as before, and goes on."""
    first, port = build(settings), free_ports.single_port()
    async with TestClient(ServiceServer(first.app, first.gate, port=port)) as client:
        await deploy(client)
        watched = await look(client)
        watched.expected = ("WebSocket connection", "ERR_CONNECTION")
        page = await watched.goto("/console/hosts")
    lost = page.get_by_role("alert").filter(has_text="Connection lost at")
    await expect(lost).to_have_count(1)
    await page.get_by_role("button", name="6 h").click()
    await expect(lost).to_have_text(
        re.compile(r"Connection lost at \d\d:\d\d:\d\d: the values are from then. Trying again. \(")
    )
    assert await page.locator("#problems").inner_text() == ""
    dimmed = "getComputedStyle(document.querySelector('main > .panel')).opacity"
    assert float(await page.evaluate(dimmed)) < 1
    again = build(settings)
    async with TestClient(ServiceServer(again.app, again.gate, port=port)):
        await expect(page.locator("#connection")).to_have_text("live")
        await expect(page.locator("#lost")).to_have_count(0)
        assert float(await page.evaluate(dimmed)) == 1


async def test_the_reason_of_many_tests_is_told_once(client: Any, look: Look) -> None:
    """A comparison with another machine says why no test can be compared, once, and folds the tests."""
    await measure(client, runs=6, slower=0)
    assert (await client.post("/contexts/", json=context("d", machine_node="rack8", cpu_count=4))).status == 201
    sent = session("other", run_date="2099-01-01T00:00:00Z", scm_ref="elsewhere", description={})
    assert (await client.post("/sessions/", json=sent)).status == 201
    rows = [
        metric(session_h="other", context_h="d", item=f"test_{n}", item_variant=f"test_{n}", item_path="tests.test_it")
        for n in range(8)
    ]
    assert (await client.post("/metrics/", json=rows)).status == 201
    page = await (await look(client)).goto("/console/tests?base=s5&head=other")
    await expect(page.locator("#comparison details summary").first).to_contain_text("8 tests that cannot be judged")
    reason = "it was measured on another machine before"
    assert await page.locator("#comparison > div > p", has_text=reason).count() <= 2
    await expect(page.locator("#comparison tbody tr:visible")).to_have_count(1)  # the test that only the base has
    assert await page.evaluate("document.documentElement.scrollHeight") < 2_000


@pytest_asyncio.fixture(loop_scope="module", name="client")
async def _client(settings: Settings) -> AsyncIterator[Any]:
    """Return a client of an empty service, in the event loop of the browser."""
    async with running(build(settings)) as client:
        yield client
