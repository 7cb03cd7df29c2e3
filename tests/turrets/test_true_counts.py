"""A target that counts for itself, compared with the summary, the single results, the series and the rows of a run."""

from __future__ import annotations

import asyncio
import csv
import io
import json
import math
import sys
import time
from collections import Counter, defaultdict
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from tests.acceptance.commands import environment
from tests.turrets.conftest import QUICK
from tests.turrets.report.test_page import Page
from tests.turrets.runs import ask, get, results, until_over
from tests.turrets.scripted import where
from tests.waiting import until

pytestmark = pytest.mark.timeout(900)

SCRIPT = """
from smartmob.turrets.scripting import BaseTransaction, CustomTimer, Http

class Transaction(BaseTransaction):
    def __init__(self, config, context=None):
        super().__init__(config, context)
        self.http = Http(timeout=600)

    async def setup(self):
        if self.config["name"] == "broken":
            (await self.http.get(self.config["url"] + "/broken")).expect(200)

    async def run(self):
        with CustomTimer(self, self.config["name"]):
            (await self.http.get(self.config["url"] + "/" + self.config["name"])).expect(200)
"""
MODELS: dict[str, dict[str, Any]] = {
    "open": {"cannons": 20, "rate": 40},
    "closed": {"cannons": 2},
    "staged": {"cannons": 20, "rate": [{"seconds": 1, "from": 0, "to": 40}, {"rate": 20}]},
    "failing": {"cannons": 20, "rate": 30},
    "freezing": {"cannons": 40, "rate": 30},
    "broken": {"cannons": 5, "rate": 10},
    "dying": {"cannons": 5, "rate": 20},
}
RUN_SECONDS = 8.0
"""Long enough for a turret that a busy machine lets begin some seconds late."""
WHOLE = [name for name in MODELS if name not in ("broken", "dying")]


class CountingTarget:
    """The counts of served requests and of errors by path, and the seconds that each good answer took."""

    def __init__(self) -> None:
        self.hits: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self.url = ""
        self.release = asyncio.Event()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Serve a request; each third one of `failing` fails, and each tenth one of `freezing` waits.

        From the sixth on, those of `dying` wait for `release`, so that the run is not over before the turret is killed.
        """
        begun, name = time.monotonic(), request.path[1:]
        self.hits[name] += 1
        if name == "closed":
            await asyncio.sleep(0.02)
        if name == "freezing" and self.hits[name] % 10 == 0:
            await asyncio.sleep(0.5)
        if name == "dying" and self.hits[name] > 5:
            await self.release.wait()
        failed = name == "broken" or (name == "failing" and self.hits[name] % 3 == 0)
        self.failures[name] += failed
        if not failed:
            self.seconds[name].append(time.monotonic() - begun)
        return web.Response(status=503 if failed else 200, text="hello")


@asynccontextmanager
async def _target() -> AsyncIterator[CountingTarget]:
    place, app = CountingTarget(), web.Application()
    app.router.add_get("/{path:.*}", place.answer)
    async with TestServer(app, host="127.0.0.1") as server:
        place.url = f"http://127.0.0.1:{server.port}"
        yield place


@asynccontextmanager
async def _turret(folder: Path, **config: Any) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run a turret as a process of its own until the end of the block."""
    file = folder / f"{config['name']}.json"
    file.write_text(json.dumps({"script": "v_user.py", "hq_address": "127.0.0.1", "grace": 600, **config}))
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "smartmob", "turret", "--config-file", file),
        env=environment(),
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _is_firing(lab: Any, name: str) -> bool:
    """Return whether the headquarters knows that a turret fires."""
    turrets = (await get(lab, "/turrets"))["turrets"]
    return any(turret["name"] == name and turret["status"] == "Running" for turret in turrets)


def _rank(values: list[float], share: float) -> float:
    """Return the percentile of values that are not sorted."""
    return sorted(values)[max(1, math.ceil(share / 100 * len(values) - 1e-9)) - 1]


@pytest.fixture(name="lab")
async def _lab(with_settings: Callable[..., Awaitable[Any]]) -> Any:
    """Return a client of a headquarters whose runs end when each turret has sent all or is lost, and not before."""
    return await with_settings(turrets=replace(QUICK, lost_after=6.0, drain=600.0))


async def test_every_number_of_a_run_is_that_of_the_target(lab: Any, tmp_path: Path) -> None:
    """Open, closed, staged, failing, freezing, broken and dying turrets: counts are equal, percentiles within 1 %."""
    (tmp_path / "v_user.py").write_text(SCRIPT)
    _, orders, rc = await where(lab)
    async with AsyncExitStack() as stack:
        place = await stack.enter_async_context(_target())
        common = {"hq_publisher": orders, "hq_rc": rc, "url": place.url}
        started = {
            name: await stack.enter_async_context(_turret(tmp_path, name=name, **model, **common))
            for name, model in MODELS.items()
        }
        turrets = [{"name": name, "script": "v_user.py"} for name in MODELS]
        run = await ask(lab, run_time=RUN_SECONDS, min_turrets=len(MODELS), turrets=turrets, results="raw", wait=600)
        path = f"/turret-runs/{run['id']}"
        await until(lambda: place.hits["dying"] > 5)
        await until(lambda: _is_firing(lab, "dying"))
        during = await get(lab, f"{path}/summary")
        started["dying"].kill()
        place.release.set()
        over = await until_over(lab, run["id"])
        summary, course = await get(lab, f"{path}/summary"), await get(lab, f"{path}/course")
        rows = await results(lab, run["id"])
        async with lab.get(f"{path}/timers") as response:
            table = {row["timer"]: row for row in csv.DictReader(io.StringIO(await response.text()))}
        async with lab.get(f"{path}/report") as response:
            drawn = Page(await response.text()).data()["charts"]
        warm = await get(lab, f"{path}/summary?warm_up=1")
    timers = summary["timers"]

    assert over["state"] == "finished"
    told = [doubt["what"] for doubt in during["trust"]["doubts"]]
    assert during["trust"]["verdict"] == "not yet"
    assert not any("did not report that it had sent everything" in what for what in told)
    assert {name: (timers[name]["count"], timers[name]["errors"]) for name in WHOLE} == {
        name: (place.hits[name], place.failures[name]) for name in WHOLE
    }
    assert place.failures["failing"] > 5
    codes = [(error["code"], error["kind"], error["count"]) for error in summary["timer_errors"]["failing"]]
    assert codes == [("503", "HttpError", place.failures["failing"])]

    # Failures before `run` take their turn in the model and have no duration.
    broken = [row for row in rows if row["error"].startswith("setup: ")]
    assert 0 < len(broken) <= MODELS["broken"]["rate"] * RUN_SECONDS
    assert timers["All transactions"]["failed"]["untimed"] == len(broken) <= place.hits["broken"] <= len(broken) + 5

    # A killed turret is missed, and nothing of it is invented.
    assert 0 <= timers.get("dying", {"count": 0})["count"] <= place.hits["dying"]
    assert any("dying" in doubt["what"] and doubt["level"] == "bad" for doubt in summary["trust"]["doubts"])
    assert any("lost for good" in fact for fact in summary["trust"]["facts"])

    # All times are on the clock of the headquarters, and the seconds are those of firing.
    began = datetime.fromisoformat(over["started_at"]).timestamp()
    assert all(-1.0 <= row["epoch"] - began - row["elapsed"] <= 0.001 for row in rows)
    assert (summary["duration"], summary["rate"]) == (RUN_SECONDS, pytest.approx(summary["transactions"] / RUN_SECONDS))

    whole = sum(row["count"] for name, row in timers.items() if name in MODELS) + len(broken)
    errors = place.failures["failing"] + len(broken)
    assert (summary["transactions"], summary["errors"]) == (whole, errors) == (over["transactions"], over["errors"])
    assert len(rows) == whole
    for series, total in (("rate", whole), ("error_rate", errors)):
        assert sum(point[series] for point in course["points"]) == pytest.approx(total)
    assert sum(sum(point["codes"].values()) for point in course["points"]) == errors
    assert sum(row["figures"]["count"] for row in summary["intervals"]["All transactions"]) == whole

    for name in WHOLE:
        measured = [row["custom_timers"][name] for row in rows if name in row["custom_timers"] and not row["error"]]
        assert timers[name]["samples"] == len(measured) == len(place.seconds[name])
        for share, value in timers[name]["percentiles"].items():
            assert value == pytest.approx(_rank(measured, float(share)), rel=0.01), (name, share)
            # A client waits at least as long as the target needs.
            assert value >= _rank(place.seconds[name], float(share)) * 0.99, (name, share)
    assert timers["freezing"]["max"] >= 0.5

    # The table as CSV, the drawn charts and another warm-up are of the same numbers.
    assert {name: (int(table[name]["count"]), int(table[name]["failed"])) for name in WHOLE} == {
        name: (place.hits[name], place.failures[name]) for name in WHOLE
    }
    for name in WHOLE:
        assert float(table[name]["p99"]) == timers[name]["percentiles"]["99"]
    lines = {line["name"]: dict(zip(line["x"], line["y"], strict=True)) for line in drawn["throughput"]["data"]}
    within = [point for point in course["points"] if point["at"] < summary["duration"]]
    for line, series in (("achieved/s", "rate"), ("failed/s", "error_rate")):
        assert sum(lines[line].values()) == sum(point[series] for point in within)
    assert sum(sum(filter(None, row)) for row in drawn["heat-0"]["data"][0]["z"]) == whole - errors
    assert warm["transactions"] == sum(point["rate"] for point in course["points"] if point["at"] >= 1) < whole
