"""The machine of an experiment: its settings that affect times, and the other programs that use its processors
meanwhile.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import psutil

from smartmob.errors import InvalidInput
from smartmob.experiments.model import Fact

_CPU = Path("/sys/devices/system/cpu")
_FEWEST_TO_PIN_COUNT = 4  # processors: with fewer, other programs could not give way
_PRIORITY = -10  # a nice value, where an administrator measures
_SHOWN_COUNT = 3  # programs


def description() -> dict[str, Fact]:
    """Return what is known about the machine; an unknown value is left out."""
    found: dict[str, Fact] = {"name": platform.node(), "processors": len(processors()), "system": platform.platform()}
    with suppress(OSError, StopIteration):
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        found["model"] = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    governor = _text(_CPU / "cpu0/cpufreq/scaling_governor")
    if governor:
        found["governor"] = governor
    no_turbo, boost = _text(_CPU / "intel_pstate/no_turbo"), _text(_CPU / "cpufreq/boost")
    if no_turbo or boost:
        found["turbo"] = no_turbo == "0" or boost == "1"
    found["load"] = round(os.getloadavg()[0], 2)
    return found


def remarks(machine: Mapping[str, Fact]) -> list[str]:
    """Return advice on settings of the machine that make times vary."""
    said = []
    if machine.get("turbo"):
        said.append("turbo boost is on, so the CPU frequency varies")
    if machine.get("governor") not in (None, "performance"):
        said.append(
            f"the CPU frequency governor is {machine['governor']}; with the governor 'performance', times vary less"
        )
    return said


def processors() -> list[int]:
    """Return the processors that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return sorted(os.sched_getaffinity(0))
    return list(range(os.cpu_count() or 1))


def processor_to_pin() -> int | None:
    """Return the processor for the tests, the last one, or None where there are too few of them."""
    found = processors()
    return found[-1] if len(found) >= _FEWEST_TO_PIN_COUNT and hasattr(os, "sched_setaffinity") else None


def duet_processors() -> tuple[int, int]:
    """Return the processors for two sides that run at the same time; raises InvalidInput where there are too few."""
    found = processors()
    if len(found) < _FEWEST_TO_PIN_COUNT or not hasattr(os, "sched_setaffinity"):
        raise InvalidInput(
            f"--duet needs {_FEWEST_TO_PIN_COUNT} processors, and this process may use {len(found)}: both sides and "
            "all other programs would share them; without --duet the sides run alternately"
        )
    siblings = {each: _text(_CPU / f"cpu{each}/topology/thread_siblings_list") or str(each) for each in found}
    return separate_cores(siblings)


def separate_cores(siblings: Mapping[int, str]) -> tuple[int, int]:
    """Return two processors of different cores, the last ones; `siblings` names the core of each processor.

    Raises InvalidInput when all belong to one core.
    """
    last = max(siblings)
    others = [each for each in siblings if siblings[each] != siblings[last]]
    if not others:
        raise InvalidInput("--duet needs two cores, and all processors that this process may use belong to one")
    return max(others), last


def priority() -> int | None:
    """Return the nice value for the tests, or None where this user may not raise a priority."""
    return _PRIORITY if hasattr(os, "geteuid") and os.geteuid() == 0 else None


def set_priority(pid: int, nice: int) -> None:
    """Set the nice value of a process, and that of its session if the process leads one, where this is allowed.

    Where Linux groups processes by session, the first one counts within the session only (sched(7), autogroup). An
    experiment starts its processes as leaders; the session of a user is left as it is. It is set from outside, because
    most of a short run is the start of the process.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, pid, nice)
        group = Path(f"/proc/{pid}/autogroup")
        if os.getsid(pid) == pid and group.exists():
            group.write_text(str(nice), encoding="ascii")


_COUNTERS = Path("/sys/bus/event_source/devices")
_COUNTER_NAMES = ("cpu", "cpu_core", "armv8_*")
"""The names of counters of processors: x86, those of several kinds of cores, and ARM."""
_MOST_PARANOID = 2  # the highest kernel.perf_event_paranoid at which programs may count their own instructions; proc(5)


def has_counters() -> bool:
    """Return whether the processor seems to have counters of instructions that this user may use."""
    if not any(next(_COUNTERS.glob(name), None) for name in _COUNTER_NAMES):
        return False
    paranoid = _text(Path("/proc/sys/kernel/perf_event_paranoid"))
    return os.geteuid() == 0 or (bool(paranoid) and int(paranoid) <= _MOST_PARANOID)


class OtherPrograms:
    """The processor time of the programs that are not descendants of this process, between two calls."""

    def __init__(self) -> None:
        self._began = time.monotonic()
        self._before = self._times()

    def shares(self) -> dict[str, float]:
        """Return the number of processors that the busiest programs have used since the last call, by name."""
        began = time.monotonic()
        now = self._times()
        seconds = time.monotonic() - self._began  # longer than a pair of short programs, since looking takes time too
        self._began = began
        used: dict[str, float] = {}
        for key, (name, spent) in now.items():
            before = self._before.get(key)
            used[name] = used.get(name, 0.0) + spent - (before[1] if before is not None else 0.0)
        self._before = now
        busiest = sorted(used, key=lambda name: -used[name])[:_SHOWN_COUNT]
        return {name: round(used[name] / seconds, 2) for name in busiest if used[name] > 0.05 * seconds}

    def _times(self) -> dict[tuple[int, float], tuple[str, float]]:
        own = {os.getpid()}
        with suppress(psutil.Error):
            own |= {child.pid for child in psutil.Process().children(recursive=True)}
        found = {}
        for process in psutil.process_iter():
            with suppress(psutil.Error):
                if process.pid not in own:
                    times = process.cpu_times()
                    found[process.pid, process.create_time()] = (process.name(), times.user + times.system)
        return found


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
