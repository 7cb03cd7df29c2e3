"""Measures the cost of a hundred idle programs, and counts the processes left when their manager is gone."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress

import psutil

from benchmarks.candidates import SMARTMOB, say
from benchmarks.load import percentile
from benchmarks.plan import Run
from benchmarks.programs import TREE_SIZE, Gate
from benchmarks.report import Goal, Section, table
from benchmarks.runners import Runner
from benchmarks.starts import in_turns

_IDLE = 100
_TREES = 25
_SETTLE_SECONDS = 3.0
_GONE_SECONDS = 1.0
_WANTED_CPU = 1.0
_WANTED_MB = 50.0
_POLL_SECONDS = 0.001


def measure_idle(run: Run) -> Section:
    """Weigh each manager with a hundred programs that do nothing."""
    figures: dict[tuple[str, str], list[tuple[int, float, float, float, float]]] = {}

    def one(found: Runner, door: Gate, number: int) -> None:
        for program in range(_IDLE):
            found.start_one(program)
        door.wait(_IDLE)
        time.sleep(_SETTLE_SECONDS)
        before, began = found.cpu_seconds(), time.perf_counter()
        time.sleep(2 * run.seconds)
        seconds = time.perf_counter() - began
        for part, after in found.cpu_seconds().items():
            members = found.processes()[part]
            sizes = [process.memory_full_info() for process in members]
            rss, pss, uss = (sum(getattr(size, kind) for size in sizes) / 1e6 for kind in ("rss", "pss", "uss"))
            figure = (len(members), (after - before[part]) / seconds * 100, rss, pss, uss)
            figures.setdefault((found.name, part), []).append(figure)
            run.keep("idle", candidate=found.name, part=part, round=number, figures=figure)
            say(f"idle, {found.name}, {part} ({len(members)}): {figure[1]:.2f} % CPU, rss {rss:.1f}, pss {pss:.1f} MB")

    in_turns(run, "idle", _IDLE, one)
    rows, total = [], [0.0, 0.0]
    for (name, part), found in figures.items():
        middle = [percentile([figure[column] for figure in found], 0.5) for column in range(5)]
        rows.append(
            (f"{name}, {part}", f"{middle[0]:.0f}", f"{middle[1]:.2f}", *(f"{size:.1f}" for size in middle[2:]))
        )
        if name == SMARTMOB:
            total[0] += middle[1]
            total[1] += middle[3]
    goals = [
        Goal(f"CPU with {_IDLE} idle children", _WANTED_CPU, total[0], ".2f", " %", at_most=True),
        Goal(f"memory (pss) with {_IDLE} idle children", _WANTED_MB, total[1], ".1f", " MB", at_most=True),
    ]
    head = ("manager, part", "processes", "CPU % of a core", "rss MB", "pss MB", "uss MB")
    remark = (
        f"{2 * run.seconds} s of idling, {_SETTLE_SECONDS:g} s after the starts; without the programs themselves and "
        "without PostgreSQL. *rss* counts what processes share once for each of them, *pss* (proportional) once in "
        "all, *uss* not at all. The programs are started one after the other. The goals are for the service, the "
        "watchdog and the subreapers together."
    )
    return Section(f"{_IDLE} idle programs", (table(head, rows), remark), goals)


def measure_survivors(run: Run) -> Section:
    """Kill each manager, and stop it in order, and count what is left of its programs."""
    rows: list[tuple[str, ...]] = []
    killed: list[int] = []
    sound = True

    for how, number in (("SIGKILL", signal.SIGKILL), ("SIGTERM", signal.SIGTERM)):

        def one(found: Runner, door: Gate, _: int, how: str = how, number: int = number) -> None:
            found.start_all()
            pids = door.wait(_TREES * TREE_SIZE)
            trees = _alive(pids)
            began = time.perf_counter()
            os.kill(found.pid, number)
            if number == signal.SIGTERM:
                with suppress(psutil.Error):
                    psutil.Process(found.pid).wait(60)
                began = time.perf_counter()
            last = _until_gone(trees, began)
            left = _still(trees)
            for process in left:
                with suppress(psutil.Error):
                    process.kill()
            run.keep("survivors", candidate=found.name, how=how, processes=len(pids), left=len(left), seconds=last)
            say(f"{how}, {found.name}: {len(left)} of {len(pids)} processes live {_GONE_SECONDS:g} s later")
            rows.append((f"{found.name}, {how}", str(len(pids)), str(len(left)), "" if left else f"{last * 1e3:.0f}"))
            if found.name == SMARTMOB:
                killed.append(len(left))

        in_turns(run, "tree", _TREES, one)
    rows.sort(key=lambda row: row[0].rpartition(", ")[::-1])
    head = ("manager, its end", "processes", "alive 1 s later", "ms until none")
    remark = (
        f"{_TREES} programs, each with a child, a child in a session of its own, and a daemon that forked twice. After "
        "SIGTERM the second counts from the end of the manager."
    )
    goal = Goal("processes alive after SIGKILL or SIGTERM", 1, float(max(killed)), at_most=True)
    return Section("Survivors", (table(head, rows), remark), [goal], sound)


def _alive(pids: Sequence[int]) -> list[psutil.Process]:
    return [psutil.Process(pid) for pid in pids]


def _still(processes: Sequence[psutil.Process]) -> list[psutil.Process]:
    """Return the running processes. A zombie does not count."""
    found = []
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            if process.is_running() and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
    return found


def _until_gone(processes: Sequence[psutil.Process], began: float) -> float:
    """Return how many seconds after `began` none was left, or a little more than the time they get."""
    while (left := _still(processes)) and time.perf_counter() - began < _GONE_SECONDS:
        processes = left
        time.sleep(_POLL_SECONDS)
    return time.perf_counter() - began
