"""Measures the speed of commands, with a bare WebSocket echo and existing programs in the same run.

`python -m benchmarks.commands` from the root of the repository; see README.md beside this file.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from benchmarks import stopping
from benchmarks.candidates import CannotMeasure, say
from benchmarks.command_peers import ask, cpu_seconds, server
from benchmarks.load import Wrk
from benchmarks.plan import Plan, open_folder
from benchmarks.report import Goal, Section, Spread, machine_info, summary, table

OURS, SYNC, RAW, ECHO = "smartmob.client (asyncio)", "smartmob.client (plain)", "bare client, smartmob", "bare echo"
PEERS = ("conplyent", "rpyc", "execnet")


def roundtrip(plan: Plan, count: int) -> Section:
    """Ask for the working directory, one after the other."""
    p50: dict[str, list[float]] = {}
    p99: dict[str, list[float]] = {}
    for _ in range(plan.rounds):
        with plan.place() as folder:
            with server("smartmob", folder) as (_, port), server("echo", folder) as (_, echo_port):
                plan.wait_until_quiet()
                _times(p50, p99, ECHO, ask("echo", echo_port, "echo", str(count)))
                _times(p50, p99, OURS, ask("smartmob", port, "roundtrip", str(count)))
                _times(p50, p99, RAW, ask("smartmob", port, "raw", str(count), program="echo"))
                _times(p50, p99, SYNC, ask("smartmob", port, "roundtrip_sync", str(count)))
            for peer in PEERS:
                _beside(
                    peer,
                    folder,
                    lambda port, peer=peer: _times(p50, p99, peer, ask(peer, port, "roundtrip", str(count))),
                )
    echo = Spread.of(p50[ECHO])
    rows = [
        (name, Spread.of(p50[name]).text(), Spread.of(p99[name]).text(), Spread.of(p50[name]).over(echo).text(".2f"))
        for name in p50
    ]
    goals = [Goal("round trip p50 / bare echo", 2.0, Spread.of(p50[OURS]).over(echo).median, ".2f", at_most=True)]
    if "conplyent" in p50:
        ratio = Spread.of(p50["conplyent"]).over(Spread.of(p50[OURS])).median
        goals.append(Goal("round trip: times faster than conplyent", 3.0, ratio, ".1f"))
    head = ("who", "p50 µs", "p99 µs", "p50 / bare echo")
    return Section(f"Round trip of `cwd`, {count:,} one after the other", (table(head, rows),), goals)


def lines(plan: Plan, count: int) -> Section:
    """Run a program that writes lines of 100 bytes as fast as it can, and read them all."""
    rates: dict[str, list[float]] = {}
    lost = "conplyent was not measured."
    for _ in range(plan.rounds):
        with plan.place() as folder:
            with server("smartmob", folder) as (_, port):
                plan.wait_until_quiet()
                for name, what in ((OURS, "lines"), (SYNC, "lines_sync")):
                    found = ask("smartmob", port, what, str(count))
                    if found["lines"] != count:
                        raise CannotMeasure(f"{name}: {found['lines']} of {count} lines came")
                    rates.setdefault(name, []).append(count / found["seconds"])
            wanted = min(count, 20_000)

            def stock(port: int, wanted: int = wanted) -> None:
                nonlocal lost
                found = ask("conplyent", port, "lines", str(wanted))
                rates.setdefault("conplyent", []).append(found["lines"] / found["seconds"])
                lost = (
                    f"conplyent: {found['lines']:,} of {wanted:,} lines came, the last ones before a time-out of 10 s."
                )

            _beside("conplyent", folder, stock)
    rows = [(name, Spread.of(values).text()) for name, values in rates.items()]
    goals = [Goal("exec lines/s", 200_000, Spread.of(rates[OURS]).median)]
    what = f"Output of `exec`, {count:,} lines of 100 bytes to one client"
    return Section(what, (table(("who", "lines/s"), rows), lost), goals)


def transfer(plan: Plan, size: int) -> Section:
    """Send a file and get it back."""
    rates: dict[str, list[float]] = {}
    spent: dict[str, list[float]] = {}
    for _ in range(plan.rounds):
        with plan.place() as folder:
            with server("smartmob", folder) as (pid, port):
                plan.wait_until_quiet()
                found = ask("smartmob", port, "transfer", str(size), str(pid))
                for way, key in (("there", "cpu"), ("back", "cpu_back")):
                    for end, seconds in zip(("client", "service"), found[key], strict=True):
                        spent.setdefault(f"{way}, {end}", []).append(seconds * 1e3 / (size / 1e6))
                rates.setdefault("smartmob, there", []).append(size / found["seconds"] / 1e6)
                rates.setdefault("smartmob, back", []).append(size / found["back"] / 1e6)
            for peer, share in (("conplyent", 64), ("rpyc", 1), ("execnet", 1)):

                def send(port: int, peer: str = peer, share: int = share) -> None:
                    found = ask(peer, port, "transfer", str(size // share))
                    rates.setdefault(peer, []).append(found["bytes"] / found["seconds"] / 1e6)

                _beside(peer, folder, send)
    rows = [(name, Spread.of(values).text(".1f")) for name, values in rates.items()]
    goals = [
        Goal(f"transfer {way}, MB/s", 300, Spread.of(rates[f"smartmob, {way}"]).median) for way in ("there", "back")
    ]
    remark = "smartmob checks the SHA-256 at both ends; the others check nothing. conplyent sends pieces of 64 KiB."
    costs = table(
        ("smartmob, end", "CPU ms / MB"), [(name, Spread.of(found).text(".2f")) for name, found in spent.items()]
    )
    return Section(f"Transfer of {size // 1_000_000} MB", (table(("who", "MB/s"), rows), costs, remark), goals)


def idle(plan: Plan, seconds: int) -> Section:
    """Measure the processor time of a server with one client that does nothing."""
    used: dict[str, float] = {}
    with plan.place() as folder:
        for peer in ("smartmob", "conplyent", "rpyc"):
            _beside(peer, folder, lambda port, peer=peer: None, used, seconds)
    rows = [(peer, f"{share:.2f} %") for peer, share in used.items()]
    goals = [Goal("idle CPU, % of a core", 0.5, used.get("smartmob"), ".2f", at_most=True)]
    return Section(f"Idle for {seconds} s with one client", (table(("server", "CPU, of a core"), rows),), goals)


def _beside(
    peer: str, folder: Path, work: Callable[[int], object], used: dict[str, float] | None = None, seconds: int = 0
) -> None:
    """Do something with a peer's server; where there is none, say so and go on."""
    try:
        with server(peer, folder) as (pid, port):
            if used is None:
                work(port)
                return
            asking = threading.Thread(target=_quietly, args=(peer, port, seconds + 3))
            asking.start()
            time.sleep(2)
            before, started = cpu_seconds(pid), time.perf_counter()
            time.sleep(seconds)
            used[peer] = 100 * (cpu_seconds(pid) - before) / (time.perf_counter() - started)
            asking.join()
    except CannotMeasure as error:
        say(f"{peer}: {error}")


def _quietly(peer: str, port: int, seconds: int) -> None:
    try:
        ask(peer, port, "idle", str(seconds))
    except CannotMeasure as error:
        say(f"{peer}: {error}")


def _times(p50: dict[str, list[float]], p99: dict[str, list[float]], name: str, found: dict[str, Any]) -> None:
    p50.setdefault(name, []).append(found["p50"] * 1e6)
    p99.setdefault(name, []).append(found["p99"] * 1e6)
    say(f"{name}: p50 {p50[name][-1]:.0f} µs")


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the report, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.commands", description="Measure commands.")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of each benchmark (default 3)")
    parser.add_argument("--quick", action="store_true", help="one short round of everything, with small sizes")
    options = parser.parse_args(arguments)
    small = options.quick
    try:
        with open_folder() as folder:
            plan = Plan(
                wrk=Wrk(folder), folder=folder, seconds=1, rounds=1 if small else options.rounds, bulk_rows=0,
                stored_rows=0, page_requests=0, starts=0, settle_seconds=0.0,
            )  # fmt: skip
            sections = [
                roundtrip(plan, 1_000 if small else 10_000),
                lines(plan, 200_000 if small else 2_000_000),
                transfer(plan, 64_000_000 if small else 512_000_000),
                idle(plan, 3 if small else 10),
            ]
    except CannotMeasure as error:
        say(str(error))
        return 2
    around = machine_info()
    goals = [goal for section in sections for goal in section.goals]
    how = f"Medians of {plan.rounds} rounds (least to greatest), in which the candidates took turns. {plan.noise()}"
    texts = [section.text() for section in sections]
    print("\n\n".join(("# Commands", table(tuple(around), [tuple(around.values())]), how, *texts, summary(goals))))
    return 0


if __name__ == "__main__":
    sys.exit(stopping.run(main))
