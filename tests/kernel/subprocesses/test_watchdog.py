"""The guarantee: however the service ends, no process that it started is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.kernel.subprocesses.families import FAMILY, family, living
from tests.waiting import until

SERVICE = """
import asyncio, os, sys
from pathlib import Path
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.child import Spec
from smartmob.kernel.subprocesses.spawner import Spawner

async def main(family, folder, count):
    spawner = Spawner(TaskRegistry())
    null = os.open(os.devnull, os.O_RDWR)
    env = {"PATH": os.environ["PATH"]}
    for number in range(count):
        file = str(Path(folder, str(number)))
        await spawner.spawn(Spec(("python3", "-c", family, file), env, Path(folder), null, null, null))
    Path(folder, "watchdog").write_text(str(spawner.watchdog_pid))
    print("ready", flush=True)
    await asyncio.Event().wait()

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""

WAYS = {
    "killed": (signal.SIGKILL,),
    "stopped, then killed": (signal.SIGSTOP, signal.SIGKILL),
    "crashed": (signal.SIGSEGV,),
    "hung up": (signal.SIGHUP,),
}


def _start(folder: Path, count: int, *prefix: str) -> subprocess.Popen[bytes]:
    command = [*prefix, sys.executable, "-c", SERVICE, FAMILY, str(folder), str(count)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


async def _service(folder: Path, count: int, *prefix: str) -> tuple[subprocess.Popen[bytes], list[int]]:
    """Start a service with process families; return it, and the ids of all its processes, the watchdog last."""
    process = _start(folder, count, *prefix)
    pids = [pid for number in range(count) for pid in await family(folder / str(number))]
    watchdog = int((folder / "watchdog").read_text())
    subreapers = [child.pid for child in psutil.Process(watchdog).children()]
    assert len(subreapers) == 1
    return process, [*pids, *subreapers, watchdog]


def _end(process: subprocess.Popen[bytes], signals: tuple[signal.Signals, ...]) -> None:
    for number in signals:
        process.send_signal(number)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize("signals", WAYS.values(), ids=WAYS)
async def test_no_process_outlives_the_service(tmp_path: Path, signals: tuple[signal.Signals, ...]) -> None:
    """Children, grandchildren, processes in sessions of their own, daemons, subreapers and the watchdog end with it."""
    process, pids = await _service(tmp_path, 3)
    assert len(living(pids)) == 3 * 4 + 1 + 1
    _end(process, signals)
    await until(lambda: living(pids) == [])


async def test_the_guarantee_needs_no_privileges(tmp_path: Path) -> None:
    """It holds for root without capabilities, and for an ordinary user as it is."""
    ordinary = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs") if os.geteuid() == 0 else ()
    process, pids = await _service(tmp_path, 2, *ordinary)
    assert "CapEff:\t0000000000000000" in Path(f"/proc/{process.pid}/status").read_text()
    _end(process, (signal.SIGKILL,))
    await until(lambda: living(pids) == [])


async def test_a_stopped_subreaper_does_not_save_its_children(tmp_path: Path) -> None:
    """The watchdog continues or kills a subreaper that is stopped when the service is killed."""
    process, pids = await _service(tmp_path, 2)
    for pid in pids:
        if psutil.Process(pid).ppid() == pids[-1]:
            os.kill(pid, signal.SIGSTOP)
    _end(process, (signal.SIGKILL,))
    await until(lambda: living(pids) == [])


async def test_a_watchdog_and_a_service_killed_together_leave_no_process(tmp_path: Path) -> None:
    """The subreapers watch both."""
    process, pids = await _service(tmp_path, 2)
    os.kill(pids[-1], signal.SIGKILL)
    _end(process, (signal.SIGKILL,))
    await until(lambda: living(pids) == [])


async def test_the_next_service_kills_what_a_service_killed_with_watchdog_and_subreaper_left(tmp_path: Path) -> None:
    """It finds the processes by their tags."""
    process, pids = await _service(tmp_path, 1)
    *family, subreaper, watchdog = pids
    for pid in (process.pid, watchdog):
        os.kill(pid, signal.SIGSTOP)
    for pid in (subreaper, watchdog):
        os.kill(pid, signal.SIGKILL)
    _end(process, (signal.SIGKILL,))
    (tmp_path / "next").mkdir()
    process, others = await _service(tmp_path / "next", 1)
    await until(lambda: living(family) == [])
    assert living(others) == others
    _end(process, (signal.SIGKILL,))


async def test_a_terminal_interrupt_reaches_the_service_alone(tmp_path: Path) -> None:
    """Watchdog and subreapers are in sessions of their own, so that CTRL-C does not kill children."""
    process, pids = await _service(tmp_path, 1)
    try:
        assert {os.getsid(pid) for pid in pids}.isdisjoint({os.getsid(process.pid)})
    finally:
        _end(process, (signal.SIGKILL,))
