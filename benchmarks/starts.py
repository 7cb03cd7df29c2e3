"""Measures how fast programs are started, and started again after a kill."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable

from benchmarks.candidates import SMARTMOB, CannotMeasure, say
from benchmarks.load import percentile
from benchmarks.plan import Run
from benchmarks.programs import Gate, gate
from benchmarks.report import Goal, Section, Spread, table
from benchmarks.runners import CIRCUS, NAMES, SUPERVISORD, Runner, Smartmob, runner
from benchmarks.viewers import connect

_MANY = 100
_WANTED_SECONDS = 0.2
_WANTED_START_MS = 5.0
_WANTED_RESTART_MS = 7.0
# A process must have lived for a moment, or some manager takes its end for a failed start.
_SETTLE_SECONDS = 1.5


def measure_many(run: Run) -> Section:
    """Start a hundred programs at once."""
    taken: dict[str, list[float]] = {}

    def one(found: Runner, door: Gate, number: int) -> None:
        started = time.perf_counter()
        found.start_all()
        answered = time.perf_counter() - started
        if len(set(door.wait(_MANY))) != _MANY:
            raise CannotMeasure(f"{found.name} did not start {_MANY} programs")
        seconds = time.perf_counter() - started
        taken.setdefault(found.name, []).append(seconds)
        run.keep("many", candidate=found.name, round=number, answered=answered, seconds=seconds)
        say(f"{_MANY} starts, {found.name}: all run after {seconds:.3f} s, answered after {answered:.3f} s")
        found.stop_all()

    in_turns(run, "idle", _MANY, one)
    ours = Spread.of(taken[SMARTMOB])
    rows, goals = [], [_goal(f"{_MANY} starts at once", _WANTED_SECONDS, ours.median, " s")]
    for name, values in taken.items():
        theirs = Spread.of(values)
        rows.append((name, theirs.text(".3f"), "" if name == SMARTMOB else ours.over(theirs).text(".2f")))
        if name != SMARTMOB:
            goals.append(_goal(f"{_MANY} starts at once / {name}", 1.0, ours.over(theirs).median))
    remark = (
        f"Until the last of {_MANY} shells has said that it runs. {SMARTMOB} gets {_MANY} creates on one aiohttp "
        f"session and stores each; the others know the programs already: {SUPERVISORD} gets one startProcessGroup, "
        f"{CIRCUS} one start of all watchers."
    )
    head = ("manager", f"s until all {_MANY} run", f"{SMARTMOB} / this one")
    return Section(f"{_MANY} starts at once", (table(head, rows), remark), goals)


def measure_one(run: Run, starts: int = 50) -> Section:
    """Start one program after the other."""
    medians: dict[str, list[float]] = {}
    tails: dict[str, list[float]] = {}
    answers: dict[str, list[float]] = {}

    def one(found: Runner, door: Gate, number: int) -> None:
        taken, answered = [], []
        for program in range(starts):
            started = time.perf_counter()
            found.start_one(program)
            answered.append((time.perf_counter() - started) * 1e3)
            door.wait(1)
            taken.append((time.perf_counter() - started) * 1e3)
        run.keep("one", candidate=found.name, round=number, milliseconds=taken, answered=answered)
        say(
            f"one start, {found.name}: p50 {percentile(taken, 0.5):.2f} ms, answered {percentile(answered, 0.5):.2f} ms"
        )
        medians.setdefault(found.name, []).append(percentile(taken, 0.5))
        tails.setdefault(found.name, []).append(percentile(taken, 0.99))
        answers.setdefault(found.name, []).append(percentile(answered, 0.5))
        found.stop_all()

    in_turns(run, "idle", starts, one)
    ours = Spread.of(medians[SMARTMOB])
    rows = [
        (
            name,
            Spread.of(medians[name]).text(".2f"),
            Spread.of(tails[name]).text(".2f"),
            Spread.of(answers[name]).text(".2f"),
            "" if name == SMARTMOB else ours.over(Spread.of(medians[name])).text(".2f"),
        )
        for name in medians
    ]
    head = ("manager", "p50 ms", "p99 ms", "answer, p50 ms", f"{SMARTMOB} / this one")
    remark = f"{starts} starts a round, one after the other, until the shell that is started has said that it runs."
    goal = _goal("one start, p50", _WANTED_START_MS, ours.median, " ms")
    return Section("One start", (table(head, rows), remark), [goal])


def measure_restart(run: Run, kills: int = 20, peer_kills: int = 4) -> Section:
    """Kill programs, and wait for their successors."""
    restarts: dict[str, list[float]] = {}
    seen: list[float] = []

    def one(found: Runner, door: Gate, number: int) -> None:
        many = kills if isinstance(found, Smartmob) else peer_kills
        for program in range(many):
            found.start_one(program)
            (pid,) = door.wait(1)
            consoles = [_Console(found, program)] if isinstance(found, Smartmob) else []
            time.sleep(_SETTLE_SECONDS if not consoles else 0.1)
            started = time.perf_counter()
            os.kill(pid, signal.SIGKILL)
            door.wait(1)
            restarts.setdefault(found.name, []).append((time.perf_counter() - started) * 1e3)
            for console in consoles:
                console.wait()
                seen.append((time.perf_counter() - started) * 1e3)
        run.keep("restart", candidate=found.name, round=number, milliseconds=restarts[found.name][-many:])
        say(f"restart, {found.name}: p50 {percentile(restarts[found.name], 0.5):.2f} ms")
        found.stop_all()

    in_turns(run, "idle", max(kills, peer_kills), one)
    run.keep("restart", candidate="viewer", milliseconds=seen)
    rows = [
        (name, str(len(values)), *(f"{percentile(values, share):,.2f}" for share in (0.5, 0.99)), f"{max(values):,.2f}")
        for name, values in {**restarts, f"{SMARTMOB}, at a viewer": seen}.items()
    ]
    head = ("manager", "kills", "p50 ms", "p99 ms", "most ms")
    remark = (
        "From SIGKILL until the successor has said that it runs, and until its first line has come to a viewer of its "
        "console. Each program is killed once, so that it is the first restart."
    )
    goals = [
        _goal("restart after a kill, p50", _WANTED_RESTART_MS, percentile(restarts[SMARTMOB], 0.5), " ms"),
        _goal("restart as a viewer sees it, p50", _WANTED_RESTART_MS, percentile(seen, 0.5), " ms"),
    ]
    return Section("Restart of a killed program", (table(head, rows), remark), goals)


class _Console:
    """A viewer that waits for one line."""

    def __init__(self, found: Smartmob, program: int) -> None:
        path = f"/attach-console/{found.slugs[program]}"
        self._connection, _ = connect("127.0.0.1", found.service.port, path)

    def wait(self) -> None:
        received = b""
        while b"up " not in received:
            part = self._connection.recv(4096)
            if not part:
                raise CannotMeasure("the console was closed")
            received += part
        self._connection.close()


def in_turns(run: Run, kind: str, count: int, one: Callable[[Runner, Gate, int], None]) -> None:
    """Do one thing with each manager in each round; each is the first one in some round."""
    for number in range(run.rounds):
        turn = number % len(NAMES)
        for name in NAMES[turn:] + NAMES[:turn]:
            with (
                run.place() as folder,
                gate(folder / "gate") as door,
                runner(name, folder / "manager", door, kind, count) as found,
            ):
                run.wait_until_quiet()
                door.forget()
                one(found, door, number)


def _goal(what: str, wanted: float, reached: float, unit: str = "") -> Goal:
    return Goal(what, wanted, reached, ".2f", unit, at_most=True)
