"""Measures how many lines of its programs a manager reads, and how many reach viewers."""

from __future__ import annotations

import time
from dataclasses import dataclass

import psutil

from benchmarks.candidates import SMARTMOB, say
from benchmarks.plan import Run
from benchmarks.programs import LINE_BYTES, STEADY_LINES, Gate, gate
from benchmarks.report import Goal, Section, Spread, table
from benchmarks.runners import NAMES, Runner, Smartmob, runner
from benchmarks.starts import in_turns
from benchmarks.viewers import viewers

_WARM_SECONDS = 1.0
_STEADY_PROGRAMS = 50
_FLOODS = ((1, (0, 1, 10, 100)), (50, (0, 1, 10, 100)))
_WANTED_READ = 2_000_000
_WANTED_DELIVERED = 1_000_000
_WANTED_STEADY_CPU = 10.0
_WANTED_GROWTH_MB = 8.0


@dataclass(frozen=True, slots=True)
class Flood:
    """The lines of one second: written by the programs, and received or missed by each viewer.

    `cpu` is percent of a core that the service used, `memory` its resident MB before and after.
    """

    written: float
    least: float
    mean: float
    skipped: float
    cpu: float
    memory: tuple[float, float]


def measure_peers(run: Run) -> Section:
    """Let one program flood each manager, without viewers."""
    rates: dict[tuple[str, str], list[float]] = {}
    kinds = {"flood": "blocks of 64 KiB", "floodlines": "each line by itself"}
    for kind, how in kinds.items():

        def one(found: Runner, door: Gate, number: int, kind: str = kind, how: str = how) -> None:
            found.start_one(0)
            door.wait(1)
            time.sleep(_WARM_SECONDS)
            before, began, cpu = door.written(), time.perf_counter(), sum(found.cpu_seconds().values())
            time.sleep(run.seconds)
            seconds = time.perf_counter() - began
            rate = (door.written() - before) / seconds
            cpu = (sum(found.cpu_seconds().values()) - cpu) / seconds * 100
            memory = psutil.Process(found.pid).memory_info().rss / 1e6
            run.keep("flood", candidate=found.name, kind=kind, round=number, rate=rate, cpu=cpu, memory=memory)
            say(f"flood in {how}, {found.name}: {rate:,.0f} lines/s, {cpu:.0f} % of a core, {memory:.0f} MB")
            rates.setdefault((found.name, kind), []).append(rate)

        in_turns(run, kind, 1, one)
    rows = []
    for kind, how in kinds.items():
        ours = Spread.of(rates[SMARTMOB, kind])
        for name in NAMES:
            theirs = Spread.of(rates[name, kind])
            rows.append((f"{name}, {how}", theirs.text(), "" if name == SMARTMOB else ours.over(theirs).text(".2f")))
    head = ("manager, how the program writes", "lines/s", f"{SMARTMOB} / this one")
    remark = (
        f"Lines of {LINE_BYTES} bytes that one program could write. {SMARTMOB} keeps the last MiB for those who attach "
        "later; the others write files, which they rotate at 50 MB. The program and the manager share the processors."
    )
    goal = Goal("lines/s of one child, no viewer", _WANTED_READ, Spread.of(rates[SMARTMOB, "flood"]).median)
    return Section("One flooding program, no viewer", (table(head, rows), remark), [goal])


def measure_viewers(run: Run) -> Section:
    """Let one and fifty programs flood the service, with few and many viewers."""
    rows, goals = [], []
    for programs, viewer_counts in _FLOODS:
        for number in viewer_counts:
            rows.append(_row(run, programs, number, 0, goals))
            if programs == 1 and number == 10:
                rows.append(_row(run, programs, number, 1, goals))
    head = (
        "programs",
        "viewers",
        "lines/s written",
        "lines/s to each viewer (least)",
        "in all",
        "missed",
        "CPU %",
        "MB",
    )
    remark = (
        f"Lines of {LINE_BYTES} bytes; the programs write blocks of 64 KiB as fast as they can. The viewers of fifty "
        "programs are spread over them. Viewers are sockets in another process, which counts and does nothing else; it "
        "shares the processors with the programs and the service. *Missed* are the lines that a viewer was told it had "
        "missed, per second and viewer. *MB* is the service's resident memory before and after."
    )
    return Section("Flooding programs and viewers", (table(head, rows), remark), goals)


def _row(run: Run, programs: int, number: int, stuck: int, goals: list[Goal]) -> tuple[str, ...]:
    found = [_flood(run, programs, number, stuck) for _ in range(run.rounds)]
    least = Spread.of(flood.least for flood in found)
    memory = [flood.memory for flood in found]
    grown = max(after - before for before, after in memory)
    if programs == 1 and number == 10:
        among = ", one more is stuck" if stuck else ""
        goals.append(Goal(f"lines/s to each of 10 viewers{among}", _WANTED_DELIVERED, least.median))
        goals.append(
            Goal(f"growth with 10 viewers{among}", _WANTED_GROWTH_MB, max(grown, 0.0), ".1f", " MB", at_most=True)
        )
    return (
        str(programs),
        f"{number} and a stuck one" if stuck else str(number),
        Spread.of(flood.written for flood in found).text(),
        f"{least.text()}" if number else "",
        Spread.of(flood.mean * number for flood in found).text() if number else "",
        Spread.of(flood.skipped for flood in found).text() if number else "",
        Spread.of(flood.cpu for flood in found).text(),
        f"{memory[-1][0]:.1f} → {memory[-1][1]:.1f}",
    )


def _flood(run: Run, programs: int, number: int, stuck: int) -> Flood:
    with (
        run.place() as folder,
        gate(folder / "gate") as door,
        runner(SMARTMOB, folder / "manager", door, "flood", programs) as found,
    ):
        if not isinstance(found, Smartmob):
            raise TypeError(found)
        run.wait_until_quiet()
        found.start_all()
        door.wait(programs)
        slugs = list(found.slugs.values())
        time.sleep(_WARM_SECONDS)
        service = psutil.Process(found.pid)
        with viewers(found.service.port, [slugs[n % programs] for n in range(number)], slugs[:stuck]) as watching:
            time.sleep(_WARM_SECONDS)
            before, written, memory = watching.look(), door.written(), service.memory_info().rss / 1e6
            cpu, began = found.cpu_seconds()["service"], time.perf_counter()
            time.sleep(run.seconds)
            seconds = time.perf_counter() - began
            cpu = (found.cpu_seconds()["service"] - cpu) / seconds
            written = door.written() - written
            after = watching.look()
            grown = service.memory_info().rss / 1e6
        lines = [(b - a) / (after.at - before.at) for a, b in zip(before.lines, after.lines, strict=True)] or [0.0]
        skipped = sum(after.skipped) - sum(before.skipped)
        seen = Flood(
            written / seconds,
            min(lines),
            sum(lines) / len(lines),
            skipped / max(1, number) / seconds,
            cpu * 100,
            (memory, grown),
        )
    run.keep(
        "viewers", programs=programs, viewers=number, stuck=stuck, **{n: getattr(seen, n) for n in Flood.__slots__}
    )
    say(
        f"{programs} flooding, {number} viewers, {stuck} stuck: {seen.written:,.0f} lines/s written, {seen.least:,.0f} "
        f"to each ({seen.skipped:,.0f} missed), {seen.cpu:.0f} % of a core, {memory:.1f} -> {grown:.1f} MB"
    )
    return seen


def measure_steady(run: Run) -> Section:
    """Let fifty programs write a thousand lines per second each."""
    cost: dict[str, list[float]] = {}
    rates: dict[str, list[float]] = {}

    def one(found: Runner, door: Gate, number: int) -> None:
        found.start_all()
        door.wait(_STEADY_PROGRAMS)
        time.sleep(2 * _WARM_SECONDS)
        before, written, began = sum(found.cpu_seconds().values()), door.written(), time.perf_counter()
        time.sleep(run.seconds)
        seconds = time.perf_counter() - began
        percent = (sum(found.cpu_seconds().values()) - before) / seconds * 100
        rate = (door.written() - written) / seconds
        run.keep("steady", candidate=found.name, round=number, percent=percent, rate=rate)
        say(f"{_STEADY_PROGRAMS} steady, {found.name}: {percent:.1f} % of a core at {rate:,.0f} lines/s")
        cost.setdefault(found.name, []).append(percent)
        rates.setdefault(found.name, []).append(rate)

    in_turns(run, "steady", _STEADY_PROGRAMS, one)
    ours = Spread.of(cost[SMARTMOB])
    rows = [
        (
            name,
            Spread.of(rates[name]).text(),
            Spread.of(cost[name]).text(".1f"),
            "" if name == SMARTMOB else ours.over(Spread.of(cost[name])).text(".2f"),
        )
        for name in cost
    ]
    what = f"{_STEADY_PROGRAMS} programs of {STEADY_LINES:,} lines/s"
    head = ("manager", "lines/s", "CPU % of a core", f"{SMARTMOB} / this one")
    goal = Goal(f"CPU with {what}", _WANTED_STEADY_CPU, ours.median, ".1f", " %", at_most=True)
    remark = "Processor time of the manager's own processes (with watchdog and subreapers), without viewers."
    return Section(what, (table(head, rows), remark), [goal])
