"""The guarantee: however the service ends, nothing that it started is left."""

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
from smartmob.kernel.subprocesses.spawner import Nursery, Spec
from smartmob.kernel.runtime.tasks import TaskRegistry

async def main(family, folder, count):
    nursery = Nursery(TaskRegistry())
    null = os.open(os.devnull, os.O_RDWR)
    env = {"PATH": os.environ["PATH"]}
    for number in range(count):
        file = str(Path(folder, str(number)))
        await nursery.spawn(Spec(("python3", "-c", family, file), env, Path(folder), null, null, null))
    Path(folder, "guardian").write_text(str(nursery.guardian_pid))
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
    """Start a service with families; return it and every process that it is responsible for."""
    process = _start(folder, count, *prefix)
    pids = [pid for number in range(count) for pid in await family(folder / str(number))]
    keeping = int((folder / "guardian").read_text())
    keepers = [child.pid for child in psutil.Process(keeping).children()]
    assert len(keepers) == 1
    return process, [*pids, *keepers, keeping]


def _end(process: subprocess.Popen[bytes], signals: tuple[signal.Signals, ...]) -> None:
    for number in signals:
        process.send_signal(number)
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@pytest.mark.parametrize("signals", WAYS.values(), ids=WAYS)
async def test_nothing_outlives_the_service(tmp_path: Path, signals: tuple[signal.Signals, ...]) -> None:
    """Neither child nor grandchild, nor one in its own session, nor a daemon, nor what watched them."""
    process, pids = await _service(tmp_path, 3)
    assert len(living(pids)) == 3 * 4 + 1 + 1
    _end(process, signals)
    await until(lambda: living(pids) == [])


async def test_it_needs_no_privileges(tmp_path: Path) -> None:
    """What root may do more than others is taken away here; for others there is nothing to take."""
    ordinary = ("setpriv", "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs") if os.geteuid() == 0 else ()
    process, pids = await _service(tmp_path, 2, *ordinary)
    assert "CapEff:\t0000000000000000" in Path(f"/proc/{process.pid}/status").read_text()
    _end(process, (signal.SIGKILL,))
    await until(lambda: living(pids) == [])


async def test_a_stopped_keeper_does_not_help_its_child(tmp_path: Path) -> None:
    """A keeper that cannot act when the service is killed is woken or killed by the guardian."""
    process, pids = await _service(tmp_path, 2)
    for pid in pids:
        if psutil.Process(pid).ppid() == pids[-1]:
            os.kill(pid, signal.SIGSTOP)
    _end(process, (signal.SIGKILL,))
    await until(lambda: living(pids) == [])


async def test_guardian_and_service_killed_at_once_leave_nothing(tmp_path: Path) -> None:
    """The keepers watch both."""
    process, pids = await _service(tmp_path, 2)
    os.kill(pids[-1], signal.SIGKILL)
    _end(process, (signal.SIGKILL,))
    await until(lambda: living(pids) == [])


async def test_what_nobody_could_end_is_ended_by_the_next_service(tmp_path: Path) -> None:
    """Keeper, guardian and service are killed before any of them can act: nobody is left who could."""
    process, pids = await _service(tmp_path, 1)
    *family, keeper, guardian = pids
    for pid in (process.pid, guardian):
        os.kill(pid, signal.SIGSTOP)
    for pid in (keeper, guardian):
        os.kill(pid, signal.SIGKILL)
    _end(process, (signal.SIGKILL,))
    (tmp_path / "next").mkdir()
    process, others = await _service(tmp_path / "next", 1)
    await until(lambda: living(family) == [])
    assert living(others) == others
    _end(process, (signal.SIGKILL,))


async def test_a_terminal_interrupt_reaches_the_service_alone(tmp_path: Path) -> None:
    """The guardian and its keepers are in sessions of their own, so that CTRL-C does not end children ungracefully."""
    process, pids = await _service(tmp_path, 1)
    try:
        assert {os.getsid(pid) for pid in pids}.isdisjoint({os.getsid(process.pid)})
    finally:
        _end(process, (signal.SIGKILL,))
