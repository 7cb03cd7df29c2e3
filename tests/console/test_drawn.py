"""Charts and tables as a browser draws them: the live charts of the console, and reports that are opened as files."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from smartmob.app import build
from smartmob.kernel.runtime import clock
from smartmob.settings import Settings
from smartmob.turrets.report import page_tables
from smartmob.turrets.report.page import compare, render
from tests.conftest import running
from tests.console.conftest import Look
from tests.hosts.samples import register, sample, talking
from tests.turrets.conftest import QUICK
from tests.turrets.messages import slice_of
from tests.turrets.report.runs import calm, failing, found, large
from tests.turrets.runs import ask, get, until_over
from tests.turrets.scripted import OctTurret, connected, where

# One event loop for all of them, as the browser needs it.
pytestmark = [pytest.mark.timeout(900), pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="module")]

LAST_DRAWN = """([place, name]) => {
  const node = document.getElementById(place);
  const index = node?._fullData?.findIndex((trace) => trace.name === name) ?? -1;
  if (index < 0) return null;
  const values = node.calcdata[index].map((point) => point.y);
  const path = node.querySelector(`.scatterlayer .trace${node._fullData[index].uid} path.js-line`);
  const drawn = path?.getPointAtLength(path.getTotalLength());
  const axis = node._fullLayout[node._fullData[index].yaxis.replace("y", "yaxis")];
  const marks = [...node.querySelectorAll(`.scatterlayer .trace${node._fullData[index].uid} path.point`)];
  const lone = marks.filter((mark) => mark.getBoundingClientRect().width > 1).length;
  const [points, last, highest] = [values.length, values.at(-1), Math.max(...values)];
  return {points, last, highest, lone, drawn: drawn ? axis.p2l(drawn.y) : null};
}"""
"""Returns how many points a line has, its last and highest value, the value at which its path in the page ends, and how
many points are drawn as marks, since no line leads to them."""

HEATED = """() => {
  const map = document.getElementById("heat-0");
  return map.querySelector(".heatmaplayer image").getBoundingClientRect().height / map._fullLayout._size.h;
}"""
"""Returns which share of the height of the map of latencies has cells."""

CUT = """() => [...document.querySelectorAll("td, th, table, section, .tile, .chart, .trust")].filter((node) => {
  if (!node.checkVisibility()) return false;
  const box = node.getBoundingClientRect();
  return box.width < 1 || box.right > innerWidth || node.scrollWidth > node.clientWidth + 1;
}).map((node) => `${node.tagName} ${node.className} ${node.textContent.slice(0, 40)}`)"""
"""Returns the parts of a report that have no width, lie outside of the window, or are wider than their box."""


_POLLING_MILLISECONDS = 200
"""Time between looks at a line: by itself the browser would measure its path 60 times a second."""


async def _drawn(page: Page, place: str, name: str, points: int) -> Any:
    """Wait until a line with so many points is drawn to its last value, and return what is drawn."""
    await page.wait_for_function(
        f"""(wanted) => {{
          const found = ({LAST_DRAWN})(wanted);
          return found && found.points >= {points} && Math.abs(found.drawn - found.last) < 0.5;
        }}""",
        arg=[place, name],
        polling=_POLLING_MILLISECONDS,
    )
    return await page.evaluate(LAST_DRAWN, [place, name])


async def test_the_live_chart_of_a_load_test_goes_on(settings: Settings, look: Look) -> None:
    """Each second is drawn while the run goes on, a report says that it is preliminary, and two runs are compared.

    A run without a name has a visible one.
    """
    async with (
        running(build(replace(settings, turrets=QUICK))) as client,
        connected(OctTurret(*await where(client))) as turret,
    ):
        run = await ask(client, run_time=600, results_ts_interval=1)
        page = await (await look(client)).goto(f"/console/load/{run['id']}")
        await turret.until_told("start")
        for points in (3, 5):
            fired = {"scriptrun_time": 0.05, "epoch": clock.now().timestamp()}
            await turret.fire(*(fired | {"error": error} for error in ("", "", "boom")))
            await _drawn(page, "chart", "achieved/s", points)
        assert (await _drawn(page, "codes", "(unknown)", points))["highest"] in (
            1,
            2,
        )  # both failures may be in one second
        row = page.locator("#timers tbody tr").first
        await expect(row.locator("td").nth(2)).to_have_text("4")
        await expect(row.locator("td").nth(3)).to_have_text("2 (33.3 %)")
        assert await page.evaluate("[...document.getElementById('chart').calcdata].length") == 7
        await expect(page.locator("#plan")).to_contain_text("Closed model: each cannon starts its next transaction")
        await page.get_by_role("link", name="Preliminary report").click()
        await expect(page.locator(".trust")).to_contain_text("Not known yet: the run has not ended")
        await page.go_back()
        await page.get_by_role("button", name="Stop").click()
        await expect(page.locator("#summary")).to_contain_text("can it be trusted?")
        course = await get(client, f"/turret-runs/{run['id']}/course")
        await expect(page.locator("#turrets tbody")).to_contain_text("done")
        await expect(page.locator("#errors tbody tr")).to_contain_text("boomAll transactions\u2013\u2013233.3 %")
        await expect(page.locator("#timers tbody td").last).to_have_text("50.0 ms*")
        seconds = int((await get(client, f"/turret-runs/{run['id']}/summary"))["duration"])
        drawn = await _drawn(page, "chart", "failed/s", seconds)
        alone = await page.evaluate(LAST_DRAWN, ["chart", "p99"])
        fired = {round(point["at"]) for point in course["points"] if point["p99"] is not None}
        assert alone["lone"] == sum(not {at - 1, at + 1} & fired for at in fired)
        await expect(page.locator("#turrets tbody")).not_to_contain_text("%")
        assert (drawn["points"], drawn["highest"]) == (seconds, max(point["error_rate"] for point in course["points"]))

        heard = len(turret.orders)
        second = await ask(client, name="second", run_time=0.5)
        await turret.until_told("start", after=heard)
        await until_over(client, second["id"])
        await page.goto(f"{page.url.partition('/console')[0]}/console/load")
        name = (await get(client, f"/turret-runs/{run['id']}"))["name"]
        assert name.startswith("Load test 20")
        await expect(page.get_by_role("link", name=name)).to_be_visible()
        for box in await page.locator("#runs input[type=checkbox]").all():
            await box.check()
        await page.get_by_role("button", name="Compare", exact=True).click()
        await expect(page.locator("h2").nth(0)).to_have_text("A: second")
        await expect(page.locator("h2").nth(1)).to_have_text(f"B: {name}")
        await page.close()


async def _imported(client: Any, name: str, seconds: float) -> str:
    """Store a load test of 40 seconds, whose transactions take about so many seconds; return its id."""
    spread = [0.96 + 0.002 * step for step in range(40)]
    parts = [slice_of(second, [seconds * share for share in spread]) for second in range(40)]
    head = {"format": "JMeter CSV", "digest": hashlib.md5(name.encode(), usedforsecurity=False).hexdigest()}
    head |= {"name": name, "started_at": "2026-11-01T10:00:00Z", "duration": 40.0}
    head |= {"users": [[0, 1], [20, 5], [39, 5]]}
    headers = {"Content-Type": "application/json"}
    lines: list[Any] = [{"head": head}, *({"slices": parts[at : at + 10]} for at in range(0, 40, 10))]
    async with client.post("/turret-runs/imports", data=msgspec.json.encode(lines), headers=headers) as response:
        assert response.status == 201, await response.text()
        return str((await response.json())["run"]["id"])


async def test_three_load_tests_are_compared(lab_settings: Settings, look: Look) -> None:
    """The others are judged against the oldest, each figure side by side; wrong ids are one sentence."""
    async with running(build(lab_settings)) as client:
        ids = [await _imported(client, *run) for run in (("first", 0.2), ("slow <b>", 0.4), ("third", 0.2))]
        page = await (await look(client)).goto("/console/load")
        for box in await page.locator("#runs input[type=checkbox]").all():
            await box.check()
        await page.get_by_role("button", name="Compare", exact=True).click()
        rows = page.locator("#runs tbody tr")
        await expect(rows).to_have_count(3)
        assert page.url.endswith(f"?runs={','.join(ids)}")
        for row, words in zip(await rows.all(), ("Afirst", "Bslow <b>", "Cthird"), strict=True):
            await expect(row).to_contain_text(words)
        await expect(rows.nth(1)).to_contain_text("slower")
        await expect(rows.nth(2)).to_contain_text("same")
        cells = page.locator("#figures tbody tr", has_text="p50").locator("td")
        assert [await cells.nth(place).inner_text() for place in (0, 2)] == ["All transactions", "199.7 ms"]
        await expect(cells.nth(3)).to_contain_text("+100 %")
        await page.set_viewport_size({"width": 400, "height": 800})
        assert await page.evaluate("document.documentElement.scrollWidth") <= 400
        await page.goto(f"{page.url.partition('?')[0]}?runs={ids[0]}")
        await expect(page.locator("#problems")).to_have_text("Choose two to 10 load tests to compare.")
        await page.goto(f"{page.url.partition('/console')[0]}/console/load/{ids[0]}")
        await expect(page.locator("figcaption", has_text="Users over time")).to_be_visible()
        assert (await _drawn(page, "report-users-0", "users", 3))["highest"] == 5
        await page.close()  # before the service, whose end it would notice


@pytest.mark.parametrize(
    ("path", "place", "name"),
    [
        ("/console/hosts/wood", "chart", "CPU"),
        ("/console/hosts", "chart", "wood"),
        ("/console/timeline?span=300", "chart", "wood"),
    ],
)
async def test_live_charts_of_machines_go_on(lab: Any, look: Look, path: str, place: str, name: str) -> None:
    """A sample that comes while the page is open is drawn, without a reload."""
    client, talk, ident = lab
    page = (watched := await look(client)).page
    await page.clock.install()
    await watched.goto(path)
    await page.wait_for_selector(f"#{place} .main-svg")
    before = await page.evaluate(LAST_DRAWN, [place, name])
    value = 91.0 if before is None or before["last"] != 91.0 else 37.0
    for ago in range(20, -1, -1):
        data = sample(clock.epoch() - ago, cpu_load=value)
        await talk.ask({"type": "CLIENT_DATA", "client_id": ident, "interval": 1, "data": data})
    await page.clock.run_for(16_000)
    newest = f"(wanted) => (({LAST_DRAWN})(wanted)?.drawn ?? 0) > {value - 5}"
    await page.wait_for_function(newest, arg=[place, name])


@pytest_asyncio.fixture(loop_scope="module", name="lab")
async def _lab(settings: Settings) -> AsyncIterator[Any]:
    """Return a client of a service, a connection of the machine `wood`, and its id."""
    async with running(build(settings)) as client:
        ident = await register(client)
        async with talking(client) as talk:
            yield client, talk, ident


async def test_a_report_can_be_read_in_every_window(browser: Browser, tmp_path: Path) -> None:
    """Nothing is cut, too wide or empty, and all charts are drawn, without a connection and in both colours."""
    context = await browser.new_context(offline=True)
    page = await context.new_page()
    faults: list[str] = []
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("console", lambda message: faults.append(message.text) if message.type in ("error", "warning") else None)
    long = "a-name-without-a-blank-" * 8
    for name, text in {
        "one": render(*found(warm_up=2.0)),
        "failing": compare(failing(), failing()),
        "two": compare(found(long, timer=long), found("after")),
        "alike": render(*calm()),
    }.items():
        path = tmp_path / f"{name}.html"
        path.write_text(text, encoding="utf-8")
        await _show(page, 400, "dark")
        await page.goto(path.as_uri())
        await _check_report(page, "dark", few=name == "alike")
        for details in await page.locator("details").all():
            await details.locator("summary").click()
            await expect(details.locator("tbody tr").first).to_be_visible()
        assert await page.evaluate(CUT) == []
        await _show(page, 1400, "light")
        await _check_report(page, "light", few=name == "alike")
        await page.emulate_media(media="print")
        assert await page.locator(".tools").first.is_hidden()
        await page.emulate_media(media="screen")
    assert faults == []
    await context.close()


async def _show(page: Page, width: int, scheme: Any) -> None:
    await page.set_viewport_size({"width": width, "height": 900})
    await page.emulate_media(color_scheme=scheme)


async def _check_report(page: Page, scheme: str, *, few: bool) -> None:
    """Check a report in the present window once its charts have the colours of `scheme`; one with `few` has a map."""
    await page.wait_for_selector(f'html[data-drawn="{scheme}"]')
    assert await page.evaluate("document.documentElement.scrollWidth - innerWidth") <= 0
    assert await page.evaluate(CUT) == []
    charts = await page.locator(".chart").count()
    assert await page.locator(".chart .main-svg:first-child").count() == charts >= (4 if few else 8)
    if few:
        assert 0 < await page.evaluate(HEATED) < 0.5


async def test_a_large_report_has_all_timers_and_errors(browser: Browser, tmp_path: Path) -> None:
    """The first rows are shown, all others on request; a search finds them, and the CSV has all."""
    run = large()
    path = tmp_path / "large.html"
    path.write_text(render(*run), encoding="utf-8")
    page = await browser.new_page()
    await page.goto(path.as_uri())
    await page.wait_for_selector("html[data-drawn]")
    rows, more = page.locator('[data-table="errors-0"] tbody tr'), page.locator('[data-more="errors-0"]')
    await expect(rows).to_have_count(page_tables.SHOWN_ROWS)
    await expect(more).to_contain_text("and 2,209 more")
    await page.get_by_label("Search errors").fill("10.0.0.2077")
    await expect(rows).to_have_count(1)
    await page.get_by_label("Search errors").fill("")
    await more.get_by_role("button", name="Show all 2,260").click()
    await expect(rows).to_have_count(2_260)

    await page.locator('[data-more="timers"]').get_by_role("button", name="Show all 1,001").click()
    shown = await page.locator('[data-table="timers"] tbody tr').all_inner_texts()
    table = page_tables.timers([run[0]], sorted(run[0].timers))
    for row, text in list(zip(table.document()["rows"], shown, strict=True))[::97]:
        cells = [
            page_tables.cell_text(kind, name, cell, row[-1])
            for (name, kind), cell in zip(table.columns, row, strict=True)
            if kind != page_tables.HIDDEN
        ]
        assert text.split("\t") == cells
    async with page.expect_download() as downloading:
        await page.locator('[data-tools="timers"]').get_by_role("button", name="Save as CSV").click()
    download = await downloading.value
    saved = list(csv.reader(Path(await download.path()).read_text(encoding="utf-8").splitlines()))
    assert (len(saved), saved[0][:4]) == (1_002, ["timer", "count", "OK", "failed"])
    await page.close()


OLD_RUNS = """
INSERT INTO turret_runs (
    run_id, headquarters, name, state, stop_asked, config, created_at, ended_at, transactions, errors, counters
)
SELECT gen_random_uuid(), 'x', name, 'finished', false, json_build_object('run_time', 1, 'name', name), at, at, 0, 0,
    '{}'
FROM (
    SELECT 'old ' || number AS name, '2026-01-01'::timestamptz + number * interval '1 minute' AS at
    FROM generate_series(1, 60) AS number
) AS old
"""


async def test_older_load_tests_are_shown_on_request(lab: Any, settings: Settings, look: Look) -> None:
    """The page begins with the newest ones, and a button shows those before them."""
    connection = await asyncpg.connect(settings.database.url)
    await connection.execute(OLD_RUNS)
    await connection.close()
    page = await (await look(lab[0])).goto("/console/load")
    await expect(page.locator("#runs tbody tr")).to_have_count(50)
    await page.get_by_role("button", name="Show older load tests").click()
    await expect(page.locator("#runs tbody tr")).to_have_count(60)
    await expect(page.get_by_role("link", name="old 1", exact=True)).to_be_visible()
    await expect(page.get_by_role("button", name="Show older load tests")).to_have_count(0)
