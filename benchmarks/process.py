"""The service's process: its memory, and how soon it answers."""

from __future__ import annotations

import time
from pathlib import Path

from benchmarks import samples
from benchmarks.candidates import say, smartmob
from benchmarks.load import post_ndjson
from benchmarks.plan import Plan
from benchmarks.report import Goal, Section, Spread, table

_CONNECTIONS = 64
_WANTED_MB = 90.0
_WANTED_SECONDS = 1.5


def measure_memory(plan: Plan) -> Section:
    """Weigh the process when it has done nothing yet, and after each kind of load."""
    found = []

    def weigh(state: str) -> None:
        time.sleep(plan.settle_seconds)
        found.append((state, service.memory()))
        plan.keep("memory", state=state, megabytes=found[-1][1])
        say(f"memory, {state}: {found[-1][1]:.1f} MB")

    with plan.place() as folder:
        _make(folder / "data")
        with smartmob(folder / "data") as service:
            weigh("idle, after the start")
            service.introduce()
            plan.wrk.post(service, _CONNECTIONS, plan.seconds)
            weigh(f"after {plan.seconds} s of posts with {_CONNECTIONS} connections")
            post_ndjson(service, samples.ndjson(0, plan.bulk_rows), plan.bulk_rows)
            weigh(f"after one NDJSON of {plan.bulk_rows:,} rows")
    remark = f"Resident memory of the service's process, without PostgreSQL, {plan.settle_seconds:g} s later each."
    goal = Goal("idle memory", _WANTED_MB, found[0][1], ".1f", " MB", at_most=True)
    rows = [(state, f"{megabytes:.1f}") for state, megabytes in found]
    return Section("Memory", (table(("state", "MB"), rows), remark), [goal])


def measure_start(plan: Plan) -> Section:
    """Start the service again and again, until it answers."""
    with plan.place() as folder:
        first = _make(folder / "data")
        again = []
        for number in range(plan.starts):
            plan.wait_until_quiet()
            with smartmob(folder / "data") as service:
                again.append(service.first_answer)
            plan.keep("start", round=number, seconds=again[-1], first=False)
    plan.keep("start", round=0, seconds=first, first=True)
    taken = Spread.of(again)
    say(f"start to first answer: {taken.text('.3f')} s; with a new data directory {first:.3f} s")
    rows = [
        ("existing data directory", str(plan.starts), taken.text(".2f")),
        ("new data directory", "1", f"{first:.2f}"),
    ]
    goal = Goal("start to first answer", _WANTED_SECONDS, taken.median, ".2f", " s", at_most=True)
    head = ("start with", "starts", "s until GET /health is answered")
    return Section("Start to first answer", (table(head, rows),), [goal])


def _make(data_dir: Path) -> float:
    """Make a data directory with something in it; return how many seconds this first start took."""
    with smartmob(data_dir) as service:
        service.introduce()
        post_ndjson(service, samples.ndjson(0, 1), 1)
        return service.first_answer
