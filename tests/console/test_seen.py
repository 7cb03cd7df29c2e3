"""Each page of the console with data, judged by what is seen of it: light and dark, in a wide and a narrow window."""

from __future__ import annotations

import asyncio
import json
import os
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from axe_playwright_python.base import AxeResults
from playwright.async_api import Page, expect

from smartmob.app import build
from smartmob.kernel.db.database import Database
from smartmob.kernel.runtime import clock
from smartmob.settings import Settings
from tests.cli.test_join import joined
from tests.conftest import running
from tests.console.conftest import Look
from tests.console.labs import EXPERIMENT, SLOW, deploy, fill
from tests.console.seen import faults_of
from tests.hosts.samples import register, sample, talking
from tests.turrets.conftest import QUICK
from tests.turrets.runs import ask, until_over
from tests.turrets.scripted import OctTurret, connected, where
from tests.waiting import until

pytestmark = [pytest.mark.timeout(900), pytest.mark.acceptance, pytest.mark.asyncio(loop_scope="module")]

PAGES = {
    "overview": ("/console/", ("rack7", "app.web.0", "7commit", "echo waits", "memory")),
    "timeline": (
        "/console/timeline?span=3600",
        ("new <b>kernel</b>", "slower, or failed", "Go to", "program app.web.0"),
    ),
    "tests": ("/console/tests?base=latest~4&head=latest", (SLOW, "Usual", "Compare the two selected", "7commit")),
    "run": ("/console/tests/runs/s7", ("What changed", SLOW, "Usual", "All tests: 9")),
    "item": (f"/console/tests/items?path=tests.test_it&variant={SLOW}", ("By run", "Memory", "7commit")),
    "experiments": ("/console/experiments", ("main (111111111) → HEAD", "rack7", "slower")),
    "experiment": (
        f"/console/experiments/{EXPERIMENT}",
        ("by instructions; the clock cannot tell", "t.py::test_slower", "+2.1 %", "from its samples", "a <note>"),
    ),
    "processes": ("/console/processes", ("app.web.0", "or its address", "Programs of nodes", "rack9", "@lab2")),
    "process": ("/console/processes/app.web.0", ("CPU of the last 10 minutes", "to standard error")),
    "commands": ("/console/commands", ("echo hello; exit 3", "exited 3", "echo waits", "Jobs of nodes", "exited 4")),
    "job": ("/console/commands/2", ("running", "elapsed", "waits")),
    "load": ("/console/load", ("seen", "passed", "33.3 %", "Trusted?")),
    "load-run": ("/console/load/LOAD", ("Charts of the report", "Target, project", "33.3 %")),
    "hosts": ("/console/hosts", ("rack7", "silent, last seen", "oak", " of ", "1 running", "shelf=2", "@lab2")),
    "node": ("/console/hosts/rack9", ("Each core", "connected", "shelf=2", "app.web.9", "exit 4", "reserved by ann")),
    "node-process": ("/console/hosts/rack9/processes/app.web.9", ("to standard error", "uptime", "PID")),
    "node-job": ("/console/hosts/rack9/jobs/1", ("on the node", "exited 4", "peak memory")),
    "host": ("/console/hosts/oak", ("core 1", "Each file system", "/data", " of ", "new <b>kernel</b>")),
    "alerts": ("/console/alerts", ("gone", "silent for 5m")),
    "search": ("/console/search?q=rack7", ("rack7", "Machines")),
}
"""The address of each page, and texts that are visible in it."""

SCREENSHOTS = os.environ.get("SCREENSHOTS")
"""A folder for screenshots of the pages, or None."""
WINDOWS = [(400, True), (1280, False)]
"""Widths of the window, and whether the colours are dark: where things are depends on the width only, and contrasts on
the colours only.

The window only grows: a page that was loaded in it would need a moment to become narrower.
"""
RULES = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa"],
    "resultTypes": ["violations"],
    "preload": False,  # no page has style sheets of other origins or media, which are what would be loaded
}
"""The rules of axe that a page must pass; of those that it passes no details are gathered."""


@asynccontextmanager
async def _lab(settings: Settings) -> AsyncIterator[tuple[Any, str]]:
    """Run a service in which a little of everything has happened, and yield its client and the id of a load test."""
    async with (
        running(build(replace(settings, turrets=QUICK))) as client,
        connected(OctTurret(*await where(client))) as turret,
        joined(f"http://127.0.0.1:{client.server.port}", *_node(settings.data_dir)),
    ):
        await fill(client)
        await _use_node(client)
        await _add_service(settings)
        totals = {"totals": {"mem": 16_000, "storage": 90_000}, "file_systems": {"/data": {"used": 5, "total": 9}}}
        ident = await register(client, "oak")
        async with talking(client) as talk:
            for ago in range(300, -1, -5):
                data = sample(clock.epoch() - ago, mem=2048, storage=40_000, cores=[10, 90]) | totals
                await talk.ask({"type": "CLIENT_DATA", "client_id": ident, "interval": 1, "data": data})
        old = await register(client, "elm")
        async with talking(client) as talk:
            samples = [sample(clock.epoch() - 900 - ago) for ago in range(0, 300, 5)]
            await talk.ask({"type": "BACKFILL", "samples": samples, "client_id": old})
        run = await ask(client, name="seen", run_time=3, results_ts_interval=1, fail_if=["p99>1s"])
        await turret.until_told("start")
        for second in range(3):
            fired = {"scriptrun_time": 0.05, "elapsed": second + 0.5}
            await turret.fire(*(fired | {"error": error} for error in ("", "", "boom")))
        await until_over(client, run["id"])
        job = asyncio.create_task(_read(client, {"cmd": "echo waits; exec sleep 900"}))
        yield client, run["id"]
        job.cancel()


def _node(folder: Path) -> tuple[str | Path, ...]:
    """Return the folder and the options of a node."""
    token = folder.with_name("token")
    token.write_text("any")
    return folder.with_name("rack9"), "--token-file", token, "--name", "rack9", "--label", "gpu", "--label", "shelf=2"


async def _use_node(client: Any) -> None:
    """Run a program and a job on the node, and wait until the service knows of them and of the load of its machine."""
    service = "/api/v1/nodes/rack9/service"

    async def answers(path: str) -> Any:
        async with client.get(path) as answer:
            return answer.status == 200 and await answer.json()

    await until(lambda: answers(f"{service}/api/v1/processes"))
    await deploy(client, "web.9", service)
    async with client.post(f"{service}/commands/exec", json={"cmd": "echo on the node; exit 4"}) as response:
        await response.read()

    async def told() -> Any:
        found = await answers("/api/v1/nodes/rack9/jobs")
        host = await answers("/hosts/rack9")
        return found["jobs"] and found["jobs"][0]["record"]["ended_at"] and host and host["latest"]

    await until(told)
    taken = {"node": "rack9", "seconds": 3600, "holder": "ann", "reason": "an experiment"}
    async with client.post("/api/v1/reservations", json=taken) as response:
        assert response.status == 201


async def _add_service(settings: Settings) -> None:
    """Let another service on the database have told of a program."""
    database = Database(settings.database, None)
    await database.open()
    program = {"slug": "app.web.5", "state": "running", "pid": 1}
    activity = json.dumps({"programs": [program], "programs_in_all": 1})
    await database.fetch(
        "INSERT INTO services (id, machine, boot, version, started_at, seen_at, activity) "
        "VALUES ('lab2', 'oak', 'boot', '1.0', $1, $1, $2)",
        clock.now(),
        activity,
    )
    await database.close()


async def _read(client: Any, wanted: dict[str, str]) -> None:
    async with client.post("/commands/exec", json=wanted) as response:
        await response.read()


@pytest.mark.long
async def test_every_page_shows_its_data_in_every_window(lab_settings: Settings, look: Look) -> None:
    """Nothing is cut, empty or outside of the window; lines are drawn; names, roles and contrasts are those of WCAG."""
    wrong: dict[str, Any] = {}
    async with _lab(lab_settings) as (client, load):
        watched = await look(client)
        for name, (path, texts) in PAGES.items():
            await _resize(watched.page, *WINDOWS[0])
            page = await watched.goto(path.replace("LOAD", load))
            for text in texts:
                await expect(page.locator("main")).to_contain_text(text)
            if await page.locator(".chart:visible, .timeline-chart").count():
                await page.wait_for_selector(".main-svg")
            assert not re.search(r"\b(undefined|NaN)\b", await page.locator("main").inner_text()), name
            assert await page.locator("#problems").inner_text() == ""
            for window in WINDOWS:
                await _resize(page, *window)
                way = f"{name}-{window[0]}-{'dark' if window[1] else 'light'}"
                if found := [*await faults_of(page), *await _violations(page)]:
                    wrong[way] = found
                if SCREENSHOTS:
                    await page.screenshot(path=Path(SCREENSHOTS) / f"{way}.png", full_page=True)
        await watched.page.close()  # before the service, whose end it would notice
    assert not wrong, json.dumps(wrong, indent=1)


async def _resize(page: Page, width: int, dark: bool) -> None:
    await page.set_viewport_size({"width": width, "height": 900})
    await page.emulate_media(color_scheme="dark" if dark else "light")


async def _violations(page: Page) -> list[str]:
    if not await page.evaluate("'axe' in window"):
        await page.evaluate(Axe().axe_script)
    found = AxeResults(await page.evaluate("rules => axe.run(rules)", RULES))
    return [found.generate_report()] if found.violations_count else []
