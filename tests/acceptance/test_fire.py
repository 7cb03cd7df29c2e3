"""A load test as a person runs one: the installed commands, a turret of ours, and a target that counts for itself."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.acceptance.commands import PROGRAMS, RunningCommand, environment, launch, run, serving
from tests.interop.target import Target, target
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(180)]

SCRIPT = """
import time
import urllib.request

from oct_turrets.base import BaseTransaction
from oct_turrets.tools import CustomTimer


class Transaction(BaseTransaction):
    def run(self):
        with CustomTimer(self, "page"):
            urllib.request.urlopen(self.config["url"] + "/page").read()
        time.sleep(0.005)
"""
FREE = ("--hq-publish-port", "0", "--hq-rc-port", "0", "--hq-external-port", "0")


async def _ports(command: RunningCommand) -> tuple[int, int, int]:
    event = await command.event("turrets.listening")
    return event["publish_port"], event["rc_port"], event["external_port"]


async def _project(folder: Path, ports: tuple[int, int, int], place: Target, **config: Any) -> Path:
    """Return a project whose one turret fires at a target."""
    (folder / "test_scripts").mkdir(parents=True)
    (folder / "test_scripts" / "v_user.py").write_text(SCRIPT)
    turret = {"name": "pages", "cannons": 5, "rampup": 0.2, "script": "test_scripts/v_user.py", "url": place.url}
    given = {"run_time": 3, "publish_port": ports[0], "rc_port": ports[1], "turrets": [turret]} | config
    (folder / "config.json").write_text(json.dumps(given))
    code, _, errors = await run("pack-turrets", folder)
    assert code == 0, errors
    return folder


@asynccontextmanager
async def _turret(package: Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `smartmob turret` until the end of the block."""
    process = await asyncio.create_subprocess_exec(
        *(PROGRAMS / "smartmob", "turret", "--tar", package),
        env=environment(),
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _get(url: str) -> Any:
    async with aiohttp.ClientSession() as session, session.get(url) as response:
        return await response.json()


async def test_the_whole_way(tmp_path: Path) -> None:
    """What is printed and what the report holds is what the target counted."""
    async with serving(tmp_path / "data", "--hq", *FREE) as service, target() as place:
        project = await _project(tmp_path / "project", await _ports(service), place)
        async with _turret(project / "pages.tar.gz"):
            page = tmp_path / "report.html"
            code, output, errors = await run(
                *("fire", project, "--server", service.url, "--json", "-o", page),
                *("--fail-if", "errors>0%", "--fail-if", "page:p50>10s"),
            )
        assert code == 0, errors
        summary = json.loads(output)
        hits = place.hits["/page"]
        assert hits > 100
        assert summary["transactions"] == summary["timers"]["page"]["count"] == hits
        assert f"<b>{hits:,}</b><span>transactions</span>" in page.read_text(encoding="utf-8")


async def test_the_service_is_killed(tmp_path: Path) -> None:
    """It is started again on the same ports: the run goes on, and no transaction is lost or counted twice."""
    data = tmp_path / "data"
    async with target() as place:
        first = await launch("--port", "0", "--data-dir", data, "--hq", *FREE)
        ports = await _ports(first)
        await first.event("bind")
        project = await _project(tmp_path / "project", ports, place, run_time=12)
        async with _turret(project / "pages.tar.gz"):
            code, ident, errors = await run("fire", project, "--server", first.url, "--no-wait")
            assert code == 0, errors
            await until(lambda: place.hits["/page"] > 300)
            first.process.send_signal(signal.SIGKILL)
            await first.wait()
            same = zip(FREE[::2], map(str, ports), strict=True)
            async with serving(data, "--hq", *(word for pair in same for word in pair)) as second:
                resumed = await second.event("turrets.resumed")
                assert (resumed["run"], resumed["state"]) == (ident.strip(), "running")
                path = f"{second.url}/turret-runs/{ident.strip()}"

                async def is_over() -> bool:
                    return (await _get(path))["state"] in ("finished", "failed", "stopped")

                await until(is_over, 60)
                over, summary = await _get(path), await _get(f"{path}/summary")
        assert over["state"] == "finished"
        assert over["transactions"] == summary["transactions"] == place.hits["/page"]
