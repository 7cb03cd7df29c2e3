"""The machine of an experiment."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from smartmob.errors import InvalidInput
from smartmob.experiments import measuring_machine
from tests.waiting import until


def test_the_description_names_the_machine() -> None:
    """Its name, its processors and its load are known; no setting is made up."""
    found = measuring_machine.description()
    assert found["name"]
    assert found["processors"] == len(measuring_machine.processors())
    assert isinstance(found["load"], float)
    has_governor = Path("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").exists()
    assert ("governor" in found) == has_governor


def test_settings_that_widen_the_intervals_are_told() -> None:
    """Turbo and a governor that changes the speed are; a quiet machine gets no advice."""
    assert measuring_machine.remarks({"governor": "performance", "turbo": False}) == []
    said = measuring_machine.remarks({"governor": "powersave", "turbo": True})
    assert len(said) == 2
    assert "powersave" in said[1]


def test_a_duet_gets_two_cores() -> None:
    """Threads of one core share its units, so two of them are no two places; too few processors are refused."""
    assert measuring_machine.separate_cores({0: "0,4", 1: "1,5", 4: "0,4", 5: "1,5"}) == (4, 5)
    assert measuring_machine.separate_cores({0: "0-1", 1: "0-1", 2: "2-3", 3: "2-3"}) == (1, 3)
    with pytest.raises(InvalidInput, match="belong to one"):
        measuring_machine.separate_cores({0: "0-3", 1: "0-3", 2: "0-3", 3: "0-3"})
    if len(measuring_machine.processors()) < 4:
        with pytest.raises(InvalidInput, match="--duet needs 4 processors, and this process may use"):
            measuring_machine.duet_processors()


def test_counters_of_the_processor_are_looked_for() -> None:
    """On a kernel that lists none, none are tried."""
    devices = Path("/sys/bus/event_source/devices")
    if not any(each.name.startswith(("cpu", "armv8")) for each in devices.glob("*")):
        assert not measuring_machine.has_counters()


async def test_programs_that_take_a_processor_are_named() -> None:
    """A child of this process does not count, a program that has another parent does."""
    others = measuring_machine.OtherPrograms()
    # The shell between them ends, so that the loop is no descendant.
    loop = f"{sys.executable} -c 'while True: pass' >/dev/null 2>&1 & echo $!"
    done = await asyncio.to_thread(subprocess.run, ["sh", "-c", loop], capture_output=True, text=True, check=True)
    pid = int(done.stdout)
    try:
        busy = psutil.Process(pid)
        assert await until(lambda: busy.cpu_times().user > 0.3)
        assert any(share > 0 for share in others.shares().values())
    finally:
        psutil.Process(pid).kill()


@pytest.mark.parametrize("leads", [True, False])
def test_the_priority_is_that_of_its_own_session(leads: bool) -> None:
    """A nice value counts among sessions where the process leads one; the session of the caller keeps its own.

    A higher value, which everybody may set, stands for the lower one of an administrator.
    """
    group = Path("/proc/self/autogroup")
    before = group.read_text() if group.exists() else ""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, start_new_session=leads) as process:
        measuring_machine.set_priority(process.pid, 3)
        assert os.getpriority(os.PRIO_PROCESS, process.pid) == 3
        if before and leads:
            assert Path(f"/proc/{process.pid}/autogroup").read_text().endswith("nice 3\n")
        process.communicate()
    assert (group.read_text() if group.exists() else "") == before


def test_the_priority_of_an_ended_process_is_left() -> None:
    """A program that ends at once costs no experiment."""
    with subprocess.Popen(["true"]) as process:
        process.wait()
        measuring_machine.set_priority(process.pid, 3)


async def test_shares_are_of_the_time_between_two_looks() -> None:
    """They are no more than there are processors, however short the pair was within that time."""
    others = measuring_machine.OtherPrograms()
    loop = f"{sys.executable} -c 'while True: pass' >/dev/null 2>&1 & echo $!"
    done = await asyncio.to_thread(subprocess.run, ["sh", "-c", loop], capture_output=True, text=True, check=True)
    program = psutil.Process(int(done.stdout))
    try:
        await until(lambda: program.cpu_times().user > 0.5)
        shares = others.shares()
    finally:
        program.kill()
    assert sum(shares.values()) <= 2 * psutil.cpu_count()  # times are known to 10 ms for each process
