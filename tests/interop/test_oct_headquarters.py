"""Our turret, the installed command, under a headquarters that speaks exactly as OCT's does."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests import free_ports
from tests.interop.children import clean_environment
from tests.turrets.headquarters import OctHeadquarters
from tests.waiting import until

pytestmark = pytest.mark.interop

SCRIPT = """
from oct_turrets.base import BaseTransaction
from oct_turrets.tools import CustomTimer
import random
import time


class Transaction(BaseTransaction):
    def __init__(self, config, context=None):
        super(Transaction, self).__init__(config, context)

    def setup(self):
        time.sleep(0.002)

    def run(self):
        r = random.uniform(0.001, 0.002)
        time.sleep(r)
        with CustomTimer(self, 'a timer'):
            time.sleep(r)
        if self.context.get('fails'):
            raise ValueError('the status is %s' % self.context['fails'])

    def tear_down(self):
        pass


if __name__ == '__main__':
    trans = Transaction(None)
    trans.run()
    print(trans.custom_timers)
"""
"""As the template of OCT has it, with shorter pauses."""


def _configuration(ports: tuple[int, int], **further: Any) -> dict[str, Any]:
    return {
        **{"name": "navigation", "cannons": 4, "rampup": 0, "script": "test_scripts/v_user.py"},
        **{"hq_address": "127.0.0.1", "hq_publisher": ports[0], "hq_rc": ports[1]},
        **further,
    }


def _package(folder: Path, ports: tuple[int, int], **further: Any) -> Path:
    """Return a package as OCT makes it."""
    (folder / "test_scripts").mkdir(parents=True)
    (folder / "test_scripts" / "v_user.py").write_text(SCRIPT)
    (folder / "config.json").write_text(json.dumps(_configuration(ports, **further)))
    with tarfile.open(folder / "navigation.tar.gz", "w:gz") as tar:
        tar.add(folder / "config.json", arcname="config.json")
        tar.add(folder / "test_scripts" / "v_user.py", arcname="test_scripts/v_user.py")
    return folder / "navigation.tar.gz"


@asynccontextmanager
async def _turret(folder: Path, *options: str | Path) -> AsyncIterator[asyncio.subprocess.Process]:
    """Run the command, and end it."""
    process = await asyncio.create_subprocess_exec(
        *(Path(sys.executable).parent / "smartmob", "turret", *options),
        env=clean_environment(folder),
        cwd=folder,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()


@pytest.mark.parametrize("way", ["--tar", "--config-file"])
async def test_a_run_consists_of_the_documented_messages(way: str, tmp_path: Path) -> None:
    """Exactly the documented messages, from the first status to the last result; then it is ready for another run."""
    async with OctHeadquarters() as hq:
        package = _package(tmp_path / "project", hq.ports)
        path = package if way == "--tar" else tmp_path / "project" / "config.json"
        async with _turret(tmp_path, way, path) as process:
            for number in (1, 2):
                hq.statuses.clear()
                await hq.wait_turrets(1)
                await until(lambda: hq.statuses[-1]["status"] == "ready")
                await hq.start({"fails": "bad"} if number == 2 else {})
                await until(lambda: len(hq.results) >= 100)
                await hq.stop()
                await until(lambda: hq.statuses[-1]["status"] == "ready")
                # After that status nothing of the run comes any more.
                results, hq.results = hq.results, []
                assert {result["turret_name"] for result in results} == {"navigation"}
                assert all(result["scriptrun_time"] > result["custom_timers"]["a timer"] > 0 for result in results)
                assert {result["error"] for result in results} == {"the status is bad" if number == 2 else ""}
                assert all(0 < result["elapsed"] < 60 and result["epoch"] % 1 == 0 for result in results)
            await hq.publish("kill", "")
            assert await process.wait() == 0
        await until(lambda: hq.conditions[-1] == "Killed")
        assert hq.complaints == []
        assert {status["cannons"] for status in hq.statuses} == {4}


async def test_it_is_gone_right_after_stop(tmp_path: Path) -> None:
    """OCT stops listening for results as soon as it has ordered the end: the turret does not hang, and ends."""
    async with (
        OctHeadquarters() as hq,
        _turret(tmp_path, "--tar", _package(tmp_path / "project", hq.ports)) as process,
    ):
        await hq.wait_turrets(1)
        await hq.start()
        await until(lambda: len(hq.results) >= 20)
        await hq.stop()
        hq.unbind_results()
        await hq.publish("kill", "")
        assert await process.wait() == 0


async def test_it_dies_and_another_comes(tmp_path: Path) -> None:
    """A turret whose headquarters ended in the middle serves the next one on the same ports, as if it were new."""
    ports = (free_ports.single_port(), free_ports.single_port())
    async with OctHeadquarters(ports) as first:
        package = _package(tmp_path / "project", ports, patience=0.5)
        process = _turret(tmp_path, "--tar", package)
        child = await process.__aenter__()
        await first.wait_turrets(1)
        await first.start()
        await until(lambda: len(first.results) >= 20)
    try:
        assert child.stderr is not None
        while b"ended:" not in (line := await child.stderr.readline()):
            assert line, "the turret has ended instead of its firing"
        async with OctHeadquarters(ports) as second:
            await second.wait_turrets(1)
            await until(lambda: second.statuses[-1]["status"] == "ready")
            await second.start()
            await until(lambda: len(second.results) >= 20)
            await second.publish("kill", "")
            assert await child.wait() == 0
        assert first.complaints == second.complaints == []
    finally:
        await process.__aexit__(None, None, None)


async def test_hostile_orders_are_ignored(tmp_path: Path) -> None:
    """Orders that kill a turret of OCT are ignored: foreign channels, empty frames, no JSON, no `msg`, no context."""
    async with OctHeadquarters() as hq:
        async with _turret(tmp_path, "--tar", _package(tmp_path / "project", hq.ports)) as process:
            await hq.wait_turrets(1)
            frames = [b"", b" ", b"no json", b' {"command": "status_request"}', b' {"msg": 1}', b" []", b"\xff\xfe {}"]
            for frame in frames:
                await hq.send(frame)
            await hq.publish("set_transaction_context", None)
            await hq.publish("kill", "", channel="another-uuid")
            await hq.publish("dance", "now")
            await hq.start()
            await until(lambda: len(hq.results) >= 10)
            await hq.publish("kill", "", channel=hq.statuses[-1]["uuid"])
            assert await process.wait() == 0
        assert hq.complaints == []


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_cannons_and_keeps_their_results(number: signal.Signals, tmp_path: Path) -> None:
    """It ends the cannons; what they did until then arrives, the last status says Killed, and the exit is good."""
    async with OctHeadquarters() as hq:
        async with _turret(tmp_path, "--tar", _package(tmp_path / "project", hq.ports)) as process:
            await hq.wait_turrets(1)
            await hq.start()
            await until(lambda: len(hq.results) >= 20)
            process.send_signal(number)
            assert await process.wait() == 0
        await until(lambda: hq.conditions[-1] == "Killed")
        assert hq.complaints == []


async def test_a_package_that_cannot_be_run(tmp_path: Path) -> None:
    """The headquarters hears that it was aborted; the command says why and ends with 1."""
    async with OctHeadquarters() as hq:
        package = _package(tmp_path / "project", hq.ports)
        (tmp_path / "project" / "test_scripts" / "v_user.py").write_text("import nothing_of_this_name")
        async with _turret(tmp_path, "--config-file", package.parent / "config.json") as process:
            assert await process.wait() == 1
            # A busy headquarters may have asked for the status before the script was read.
            await until(lambda: "Aborted" in hq.conditions)
        assert hq.conditions[-1] == "Aborted"
        assert hq.complaints == []
