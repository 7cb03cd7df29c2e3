"""Load tests with the installed commands, a turret of smartmob, and a target that counts the requests."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from tests import free_ports
from tests.acceptance.commands import PROGRAMS, RunningCommand, environment, launch, run, serving
from tests.interop.target import Target, target
from tests.processes.archives import wheel
from tests.waiting import until

pytestmark = [pytest.mark.acceptance, pytest.mark.timeout(900)]

SCRIPT = """
import time
import urllib.request

from oct_turrets.base import BaseTransaction
from oct_turrets.tools import CustomTimer


class Transaction(BaseTransaction):
    def run(self):
        with CustomTimer(self, "page"):
            urllib.request.urlopen(self.config["url"] + "/page").read()
        time.sleep(0.02)
"""
FREE = ("--hq-publish-port", "0", "--hq-rc-port", "0", "--hq-external-port", "0")


def hq_ports() -> list[str]:
    """Return options for a headquarters that a test starts again on the same ports."""
    return [word for option in FREE[::2] for word in (option, str(free_ports.single_port()))]


async def _ports(command: RunningCommand) -> tuple[int, int, int]:
    event = await command.event("turrets.listening")
    return event["publish_port"], event["rc_port"], event["external_port"]


async def _project(folder: Path, ports: tuple[int, int, int], place: Target, **config: Any) -> Path:
    """Return a project whose one turret fires at a target."""
    (folder / "test_scripts").mkdir(parents=True)
    (folder / "test_scripts" / "v_user.py").write_text(SCRIPT)
    turret = {"name": "pages", "cannons": 5, "rampup": 0.2, "script": "test_scripts/v_user.py", "url": place.url}
    given = {"run_time": 5, "publish_port": ports[0], "rc_port": ports[1], "turrets": [turret]} | config
    (folder / "config.json").write_text(json.dumps(given))
    code, _, errors = await run("pack-turrets", folder)
    assert code == 0, errors
    return folder


@asynccontextmanager
async def _turret(package: Path, *options: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run `smartmob turret` until the block ends."""
    process = await asyncio.create_subprocess_exec(
        *(PROGRAMS / "smartmob", "turret", "--tar", package, *options),
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


async def _stop(run_url: str) -> None:
    async with aiohttp.ClientSession() as session, session.post(f"{run_url}/stop") as response:
        assert response.status < 300, await response.text()


async def test_the_report_has_the_number_that_the_target_counted(tmp_path: Path) -> None:
    """The printed summary has the same number."""
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
        assert hits > 0
        assert summary["transactions"] == summary["timers"]["page"]["count"] == hits
        assert f"<b>{hits:,}</b><span>transactions</span>" in page.read_text(encoding="utf-8")


async def test_only_a_turret_with_the_public_key_fires(tmp_path: Path) -> None:
    """A turret without it is not heard."""
    assert (await run("keys", "new", tmp_path / "hq"))[0] == 0
    keys = ("--hq-curve-key-file", tmp_path / "hq.key")
    async with serving(tmp_path / "data", "--hq", *FREE, *keys) as service, target() as place:
        project = await _project(tmp_path / "project", await _ports(service), place)
        package = project / "pages.tar.gz"
        async with _turret(package), _turret(package, "--hq-key-file", tmp_path / "hq.pub"):
            code, output, errors = await run("fire", project, "--server", service.url, "--json")
        assert code == 0, errors
        assert json.loads(output)["transactions"] == place.hits["/page"] > 0
        turrets = (await _get(f"{service.url}/turrets"))["turrets"]
        assert len(turrets) == 1


async def test_a_run_survives_a_killed_service(tmp_path: Path) -> None:
    """It starts again on the same ports, the run goes on, and no transaction is lost or counted twice."""
    data = tmp_path / "data"
    async with target() as place:
        hq = ("--hq", *hq_ports())
        first = await launch("--port", "0", "--data-dir", data, *hq, pid_file=tmp_path / "pid")
        ports = await _ports(first)
        await first.event("bind")
        project = await _project(tmp_path / "project", ports, place, run_time=3600)
        async with _turret(project / "pages.tar.gz"):
            code, ident, errors = await run("fire", project, "--server", first.url, "--no-wait")
            assert code == 0, errors
            await until(lambda: place.hits["/page"] > 100)
            first.send_signal(signal.SIGKILL)
            await first.wait()
            async with serving(data, *hq) as second:
                resumed = await second.event("turrets.resumed")
                assert (resumed["run"], resumed["state"]) == (ident.strip(), "running")
                path = f"{second.url}/turret-runs/{ident.strip()}"
                before = place.hits["/page"]
                await until(lambda: place.hits["/page"] > before + 100)
                await _stop(path)

                async def is_over() -> bool:
                    return (await _get(path))["state"] in ("finished", "failed", "stopped")

                await until(is_over)
                over, summary = await _get(path), await _get(f"{path}/summary")
        assert over["state"] == "stopped"
        assert over["transactions"] == summary["transactions"] == place.hits["/page"]


@asynccontextmanager
async def _two_services(tmp_path: Path) -> AsyncIterator[tuple[RunningCommand, RunningCommand, str]]:
    """Run a headquarters and another service; return both and the value for `--on`."""
    ports = ("--processes-base-port", "21000")
    async with (
        serving(tmp_path / "first", "--hq", *FREE, *ports) as first,
        serving(tmp_path / "second", *ports) as second,
    ):
        yield first, second, ",".join(each.url.removeprefix("http://") for each in (first, second))


async def _processes(*services: RunningCommand) -> list[Any]:
    return [each for service in services for each in (await _get(f"{service.url}/api/v1/processes"))["processes"]]


def _unpacked(folder: Path, place: Target, **config: Any) -> Path:
    """Return a project that is not packed and whose turret has no address of a headquarters."""
    (folder / "test_scripts").mkdir(parents=True)
    (folder / "test_scripts" / "v_user.py").write_text(SCRIPT)
    turret = {"name": "pages", "cannons": 3, "rampup": 0, "script": "test_scripts/v_user.py", "url": place.url}
    (folder / "config.json").write_text(
        json.dumps({"run_time": 5, "turrets": [turret | config.pop("turret", {})]} | config)
    )
    return folder


async def test_ctrl_c_before_the_answer_stops_the_run(tmp_path: Path) -> None:
    """The service has accepted the run, and its answer arrives after the signal."""
    async with serving(tmp_path / "data", "--hq", *FREE) as service, target() as place:
        project = _unpacked(tmp_path / "project", place, run_time=600)
        async with _interrupting(service.url) as (url, started):
            process = await asyncio.create_subprocess_exec(
                *(PROGRAMS / "smartmob", "fire", project, "--server", url),
                env=environment(),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            started.set_result(process)
            _, errors = await process.communicate()
        assert process.returncode == 1, errors
        assert b"the run is stopped" in errors
        assert [run["state"] for run in (await _get(f"{service.url}/turret-runs"))["runs"]] == ["stopped"]


@asynccontextmanager
async def _interrupting(url: str) -> AsyncIterator[tuple[str, asyncio.Future[asyncio.subprocess.Process]]]:
    """Pass connections on to a service; the process of the future gets SIGINT before the answer to its run arrives."""
    process: asyncio.Future[asyncio.subprocess.Process] = asyncio.get_running_loop().create_future()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there = urlsplit(url)
        from_service, to_service = await asyncio.open_connection(there.hostname, there.port)
        asks = asyncio.Event()

        async def pass_requests() -> None:
            while data := await reader.read(65_536):
                if data.startswith(b"POST /turret-runs ") or data.startswith(b"POST /turret-runs?"):
                    asks.set()
                to_service.write(data)
            to_service.close()

        passing = asyncio.create_task(pass_requests())
        while data := await from_service.read(65_536):
            if asks.is_set():
                asks.clear()
                (await process).send_signal(signal.SIGINT)
            writer.write(data)
        writer.close()
        await passing

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}", process


class TestOnOtherServices:
    """`fire --on`: turrets as processes of two services."""

    async def test_turrets_on_two_services_fire_and_are_removed(self, tmp_path: Path) -> None:
        """The printed number is that of the target."""
        async with _two_services(tmp_path) as (first, second, on), target() as place:
            project = _unpacked(tmp_path / "project", place)
            code, output, errors = await run("fire", project, "--on", on, "--server", first.url, "--json")
            assert code == 0, errors
            assert await _processes(first, second) == []
        summary = json.loads(output)
        assert summary["transactions"] == place.hits["/page"] > 0
        assert [member["name"] for member in summary["turrets"]] == ["pages", "pages"]
        assert all(member["expected"] == member["received"] > 0 for member in summary["turrets"])

    @pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
    async def test_an_interrupted_run_is_stopped_shown_and_removed(
        self, tmp_path: Path, number: signal.Signals
    ) -> None:
        """A signal ends the command."""
        async with _two_services(tmp_path) as (first, second, on), target() as place:
            process = await asyncio.create_subprocess_exec(
                *(PROGRAMS / "smartmob", "fire", _unpacked(tmp_path / "project", place, run_time=600)),
                *("--on", on, "--server", first.url, "--json"),
                env=environment(),
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
            await until(lambda: place.hits["/page"] > 20)
            assert len(await _processes(first, second)) == 2
            process.send_signal(number)
            output, errors = await process.communicate()
            assert process.returncode == 1, errors
            assert json.loads(output)["transactions"] == place.hits["/page"]
            assert await _processes(first, second) == []

    async def test_turrets_of_a_killed_command_are_removed_by_their_machines(self, tmp_path: Path) -> None:
        """SIGKILL leaves the command no time to remove them: their leases end."""
        async with _two_services(tmp_path) as (first, second, on), target() as place:
            process = await asyncio.create_subprocess_exec(
                *(PROGRAMS / "smartmob", "fire", _unpacked(tmp_path / "project", place, run_time=600)),
                *("--on", on, "--server", first.url, "--lease", "10s"),
                env=environment(),
                stdout=asyncio.subprocess.DEVNULL,
                stderr=asyncio.subprocess.DEVNULL,
            )
            await until(lambda: place.hits["/page"] > 20)
            turrets = await _processes(first, second)
            assert [turret["lease"] for turret in turrets] == [10, 10]
            process.kill()
            await process.wait()

            async def are_removed() -> bool:
                return await _processes(first, second) == []

            await until(are_removed)
            for turret in turrets:
                with pytest.raises(ProcessLookupError):
                    os.kill(turret["pid"], 0)

    async def test_a_turret_that_fails_to_start_shows_its_last_lines(self, tmp_path: Path) -> None:
        """Nothing is left on the services."""
        async with _two_services(tmp_path) as (first, second, on), target() as place:
            project = _unpacked(tmp_path / "project", place)
            (project / "test_scripts" / "v_user.py").write_text("import nothing_of_this_name\n")
            code, _, errors = await run("fire", project, "--on", on, "--server", first.url)
            assert code == 1
            assert "the turret pages on 127.0.0.1:" in errors
            assert "nothing_of_this_name" in errors
            assert await _processes(first, second) == []
            assert (await _get(f"{first.url}/turret-runs"))["runs"] == []

    async def test_an_unreachable_service_gives_the_exit_code_of_the_network(self, tmp_path: Path) -> None:
        """Turrets on the other service are removed."""
        async with _two_services(tmp_path) as (first, second, on), target() as place:
            code, _, errors = await run(
                *("fire", _unpacked(tmp_path / "project", place), "--on", f"{on},127.0.0.1:1", "--server", first.url),
            )
            assert (code, "cannot connect to http://127.0.0.1:1" in errors) == (3, True)
            assert await _processes(first, second) == []

    async def test_the_requirements_of_a_project_are_installed_on_the_service(self, tmp_path: Path) -> None:
        """The script can import them."""
        parcel = tmp_path / "thing-1.0-py3-none-any.whl"
        parcel.write_bytes(wheel("thing", "1.0", {"thing.py": "ANSWER = 42"}))
        async with _two_services(tmp_path) as (first, second, on), target() as place:
            project = _unpacked(tmp_path / "project", place, turrets_requirements=[f"thing @ {parcel.as_uri()}"])
            script = project / "test_scripts" / "v_user.py"
            script.write_text(f"import thing\nassert thing.ANSWER == 42\n{SCRIPT}")
            code, _, errors = await run("fire", project, "--on", on.split(",")[1], "--server", first.url)
            assert code == 0, errors
            assert place.hits["/page"] > 0
            assert await _processes(second) == []


async def test_no_result_is_lost_or_counted_twice_under_random_kills(reachable_path: Path) -> None:
    """Turrets and the headquarters with its database are killed, as in the benchmark."""
    options = ("--count", "4000", "--pause", "0.5", "--only", "raw")
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.turret_faults", *options),
        cwd=Path(__file__).parents[2],
        env=environment(TMPDIR=str(reachable_path)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    output, errors = await process.communicate()
    assert process.returncode == 0, (output + errors).decode()
    assert b"killed 1 headquarters" in errors
