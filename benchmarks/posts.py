"""One metric per request: the service beside bare handlers, with and without a commit, and monitor-server-api."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path

from benchmarks.candidates import (
    BARE,
    COMMITTING,
    MONITOR,
    SMARTMOB,
    Candidate,
    CannotMeasure,
    bare,
    bare_commit,
    monitor_server,
    say,
    smartmob,
)
from benchmarks.load import Posted, percentile, sync_to_disk
from benchmarks.plan import Plan
from benchmarks.report import Goal, Section, Spread, table

CONNECTIONS = (1, 16, 64)
_MOST = CONNECTIONS[-1]
_COUNTED = (SMARTMOB, MONITOR)
"""Servers that tell how many metrics they have."""

Results = dict[tuple[str, int], list[Posted]]


def measure(plan: Plan) -> Section:
    """Post with few and many connections to each candidate in turn, and count what was committed."""
    results: Results = {}
    remarks: list[str] = []
    lost, syncs = [], []
    with plan.place() as folder, ExitStack() as stack:
        candidates = _start(folder, stack, remarks)
        for number in range(plan.rounds):
            # Each is the first one in some round: what one leaves behind (writes of the disk) meets everybody.
            turn = number % len(candidates)
            plan.wait_until_quiet()
            syncs.append(sync_to_disk(folder))
            for connections in CONNECTIONS:
                for candidate in candidates[turn:] + candidates[:turn]:
                    posted, missing = _one(plan, candidate, connections, number)
                    results.setdefault((candidate.name, connections), []).append(posted)
                    lost += [f"{candidate.name}, {connections} connections: {text}" for text in missing]
    committed = lost or ["Every request that was answered 201 is a committed row, in each run of each server."]
    remarks.append(_disk(plan, syncs))
    failed = any(posted.errors for (name, _), runs in results.items() if name == SMARTMOB for posted in runs)
    sound = not failed and not any(text.startswith(SMARTMOB) for text in lost)
    parts = (_table(results), "\n".join(f"- {text}" for text in (*committed, *remarks)))
    return Section("POST /metrics/, one metric per request", parts, _goals(results), sound)


def _start(folder: Path, stack: ExitStack, remarks: list[str]) -> list[Candidate]:
    service = stack.enter_context(smartmob(folder / "data"))
    candidates = [service, stack.enter_context(bare(folder)), stack.enter_context(bare_commit(folder, service))]
    try:
        candidates.append(stack.enter_context(monitor_server(folder)))
    except CannotMeasure as error:
        remarks.append(f"{MONITOR} was not measured: {error}")
        say(remarks[-1])
    for candidate in candidates:
        if candidate.name in _COUNTED:
            candidate.introduce()
    return candidates


def _one(plan: Plan, candidate: Candidate, connections: int, number: int) -> tuple[Posted, list[str]]:
    """Return what wrk saw, and what is wrong with the number of rows."""
    stores = candidate.name in _COUNTED
    before = candidate.count() if stores else 0
    plan.wait_until_quiet()
    posted = plan.wrk.post(candidate, connections, plan.seconds)
    rows = candidate.count() - before if stores else None
    plan.keep("posts", candidate=candidate.name, connections=connections, round=number, rows=rows, **posted.raw())
    say(f"round {number + 1}, {connections} connections, {candidate.name}: {posted.rate:,.0f} requests/s")
    # When wrk stops, each connection may have one request under way that is stored but no longer counted.
    answered = posted.requests - posted.errors.get("non_2xx", 0)
    if rows is None or answered <= rows <= posted.requests + connections:
        return posted, []
    return posted, [f"{answered:,} requests were answered 201 and {rows:,} rows are committed"]


def _disk(plan: Plan, syncs: list[list[float]]) -> str:
    """Return a remark on the disk, for which each commit waits."""
    p50, p99 = (Spread.of(percentile(taken, share) for taken in syncs) for share in (0.50, 0.99))
    plan.keep("disk", fsync_p50=p50.values, fsync_p99=p99.values)
    return (
        f"The disk alone, before each round: fsync of 8 KiB takes {p50.text('.2f')} ms at the median, "
        f"p99 {p99.text('.2f')} ms."
    )


def _rates(results: Results, name: str, connections: int) -> Spread | None:
    runs = results.get((name, connections))
    return Spread.of(posted.rate for posted in runs) if runs else None


def _table(results: Results) -> str:
    head = ("server", "connections", "requests/s", "p50 ms", "p99 ms", "CPU µs", "failed", f"{SMARTMOB} / this one")
    rows = []
    for connections in CONNECTIONS:
        ours = _rates(results, SMARTMOB, connections)
        for name in (SMARTMOB, COMMITTING, BARE, MONITOR):
            runs, rates = results.get((name, connections)), _rates(results, name, connections)
            if runs is None or rates is None or ours is None:
                continue
            p50, p99 = Spread.of(posted.p50 for posted in runs), Spread.of(posted.p99 for posted in runs)
            cpu = Spread.of(posted.cpu for posted in runs)
            row = (name, str(connections), rates.text(), p50.text(".2f"), p99.text(".2f"), cpu.text(), _errors(runs))
            rows.append((*row, "" if name == SMARTMOB else ours.over(rates).text(".2f")))
    return table(head, rows)


def _errors(runs: list[Posted]) -> str:
    total: dict[str, int] = {}
    for posted in runs:
        for kind, number in posted.errors.items():
            total[kind] = total.get(kind, 0) + number
    return ", ".join(f"**{number} {kind}**" for kind, number in total.items()) or "0"


def _goals(results: Results) -> list[Goal]:
    ours = _rates(results, SMARTMOB, _MOST)
    goals = []
    for name, wanted in ((COMMITTING, 0.95), (BARE, 0.7), (MONITOR, 10.0)):
        theirs = _rates(results, name, _MOST)
        ratio = ours.over(theirs).median if ours and theirs else None
        what = f"requests/s at {_MOST} connections / {name}"
        goals.append(Goal(what, wanted, ratio, ".2f"))
    return goals
