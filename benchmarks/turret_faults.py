"""Checks that no result is lost or counted twice while turrets and the headquarters are killed at random.

`python -m benchmarks.turret_faults` from the root of the repository. Turrets fire at nothing and number what they do:
each transaction counts itself in a file that is mapped into memory, which outlives the turret. So of each turret it is
known how many transactions it had finished when it was killed. With raw results the number is stored with each result:
those of a turret must be 1, 2, 3, … without a gap. With slices the counts must be the same.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from benchmarks import stopping
from benchmarks.candidates import CannotMeasure, Service, say, smartmob
from benchmarks.plan import open_folder
from benchmarks.report import machine_info, table
from benchmarks.turrets import free_ports

_PATIENCE = 300.0
_COUNT = struct.Struct("=q")
_SCRIPT = """
import asyncio, mmap, struct
from smartmob.turrets.scripting import BaseTransaction

COUNTED = 0

class Transaction(BaseTransaction):
    def __init__(self, config, context=None):
        super().__init__(config, context)
        with open(config["counts"], "r+b") as file:
            self.counts = mmap.mmap(file.fileno(), 8)

    async def run(self):
        global COUNTED
        await asyncio.sleep(0.01)
        # Nothing comes between this and the result.
        COUNTED += 1
        self.custom_timers["n"] = float(COUNTED)
        struct.pack_into("=q", self.counts, 0, COUNTED)
"""
_RAW = """
SELECT turret_name AS name, count(*) AS stored, count(DISTINCT custom_timers->>'n') AS different,
    coalesce(max((custom_timers->>'n')::float8), 0)::bigint AS last
FROM turret_results WHERE run_id = $1 GROUP BY turret_name
"""
_SLICES = """
SELECT member->>'name' AS name, sum(count)::bigint AS stored, sum(count)::bigint AS different,
    sum(count)::bigint AS last
FROM turret_slices JOIN turret_members USING (run_id, uuid) WHERE run_id = $1 AND timer = '' GROUP BY 1
"""


@dataclass(slots=True)
class Turret:
    """A turret that runs, or was killed; `file` holds how many transactions it has finished."""

    name: str
    file: Path
    process: subprocess.Popen[bytes]
    killed: bool = False

    @property
    def counted(self) -> int:
        """Return how many transactions it has finished by its own count."""
        return int(_COUNT.unpack(self.file.read_bytes())[0])


@dataclass(slots=True)
class Outcome:
    """The outcome of one run."""

    results: str
    counted: int = 0
    stored: int = 0
    headquarters: int = 0
    turrets: int = 0
    unsent: int = 0
    seconds: float = 0.0
    faults: list[str] = field(default_factory=list)


class Lab:
    """A headquarters that can be killed and comes back on the same ports, and its turrets."""

    def __init__(self, folder: Path, ends: ExitStack) -> None:
        self.folder = folder
        self.turrets: list[Turret] = []
        self._ends = ends
        ports = dict(zip(("PUBLISH", "RC", "EXTERNAL"), free_ports(3), strict=True))
        self._variables = {f"SMARTMOB_HQ_{name}_PORT": str(port) for name, port in ports.items()}
        self._ports = ports
        self._service: ExitStack = ends.enter_context(ExitStack())
        self.service = self._start()

    def _start(self) -> Service:
        variables = {"SMARTMOB_HQ": "true", "SMARTMOB_TURRETS_LOST_AFTER": "4"} | self._variables
        return self._service.enter_context(smartmob(self.folder / "data", **variables))

    def kill_headquarters(self) -> None:
        """Kill the service and its database, and start both again."""
        os.kill(self.service.pid, signal.SIGKILL)
        self._service.close()
        self.service = self._start()

    def recruit(self) -> None:
        """Start one more turret."""
        name = f"turret-{len(self.turrets) + 1}"
        folder = self.folder / name
        folder.mkdir()
        (folder / "v_user.py").write_text(_SCRIPT)
        counts = folder / "counts"
        counts.write_bytes(_COUNT.pack(0))
        config = {
            **{"name": name, "cannons": 100, "rampup": 0, "script": "v_user.py", "counts": str(counts)},
            **{"hq_address": "127.0.0.1", "hq_publisher": self._ports["PUBLISH"], "hq_rc": self._ports["RC"]},
        }
        (folder / "config.json").write_text(json.dumps(config))
        command = [sys.executable, "-m", "smartmob", "turret", "--config-file", str(folder / "config.json")]
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(command, stdout=log, stderr=log)
        self._ends.callback(_end, process)
        self.turrets.append(Turret(name, counts, process))

    def kill_turret(self, chance: random.Random) -> None:
        """Kill one of the turrets that run, and start another in its place."""
        victim = chance.choice([turret for turret in self.turrets if not turret.killed])
        victim.process.kill()
        victim.process.wait()
        victim.killed = True
        self.recruit()

    def rows(self, query: str, *arguments: Any) -> list[dict[str, Any]]:
        """Return the answer of the database."""

        async def ask() -> list[dict[str, Any]]:
            connection = await self.service.connect()
            try:
                return [dict(row) for row in await connection.fetch(query, *arguments)]
            finally:
                await connection.close()

        return asyncio.run(ask())

    def document(self, method: str, path: str, body: object = None) -> Any:
        """Return the document with which the service answers."""
        status, answer = self.service.request(method, path, orjson.dumps(body) if body is not None else None)
        if status >= 300:
            raise CannotMeasure(f"{method} {path} answered {status}: {answer[:500]!r}")
        return orjson.loads(answer)


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.kill()
    process.wait()


def main(arguments: Sequence[str] | None = None) -> int:
    """Fire, kill, compare; print the report and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.turret_faults", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="20,000 results: it shows that everything works")
    parser.add_argument("--count", type=int, default=1_000_000, help="results of each run")
    parser.add_argument("--pause", type=float, default=4.0, help="seconds between two faults, on average")
    parser.add_argument("--seed", type=int, default=None, help="for the same faults at the same times once more")
    parser.add_argument("--only", choices=("raw", "slices"), default=None, help="one of both runs")
    options = parser.parse_args(arguments)
    if options.quick:
        options.count, options.pause = 20_000, 1.5
    seed = options.seed if options.seed is not None else random.SystemRandom().randrange(1 << 32)
    chance = random.Random(seed)
    say(f"seed {seed}")
    kinds = (options.only,) if options.only else ("raw", "slices")
    try:
        outcomes = [_run(kind, options.count, options.pause, chance) for kind in kinds]
    except CannotMeasure as error:
        say(str(error))
        return 2
    print(_report(outcomes, seed))
    return 1 if any(outcome.faults for outcome in outcomes) else 0


@contextmanager
def _lab() -> Iterator[Lab]:
    with open_folder() as folder, ExitStack() as ends:
        yield Lab(folder, ends)


def _run(kind: str, count: int, pause: float, chance: random.Random) -> Outcome:
    """Fire with faults until `count` results have arrived, and compare what was counted with what is stored."""
    outcome, began = Outcome(kind), time.monotonic()
    with _lab() as lab:
        lab.recruit()
        lab.recruit()
        run = lab.document("POST", "/turret-runs", {"run_time": 86_400, "min_turrets": 2, "results": kind})["id"]
        due = time.monotonic() + chance.expovariate(1 / pause)
        deadline = time.monotonic() + _PATIENCE + count / 1000
        victims: list[str] = []
        while (finished := sum(turret.counted for turret in lab.turrets)) < count or not (
            outcome.headquarters and outcome.turrets
        ):
            if time.monotonic() > deadline:
                raise CannotMeasure(f"only {finished:,} of {count:,} transactions were done")
            if finished and time.monotonic() >= due:
                victims = victims or chance.sample(("headquarters", "turret"), 2)
                if victims.pop() == "headquarters":
                    lab.kill_headquarters()
                    outcome.headquarters += 1
                else:
                    lab.kill_turret(chance)
                    outcome.turrets += 1
                due = time.monotonic() + chance.expovariate(1 / pause)
                say(f"{kind}: {finished:,} done; killed {outcome.headquarters} headquarters, {outcome.turrets} turrets")
            time.sleep(0.05)
        lab.document("POST", f"/turret-runs/{run}/stop")
        over = _until_over(lab, run)
        _compare(lab, run, over, outcome)
    outcome.seconds = time.monotonic() - began
    return outcome


def _until_over(lab: Lab, run: str) -> dict[str, Any]:
    deadline = time.monotonic() + _PATIENCE
    while (found := lab.document("GET", f"/turret-runs/{run}"))["state"] not in ("stopped", "finished", "failed"):
        if time.monotonic() > deadline:
            raise CannotMeasure(f"the run does not end: {found}")
        time.sleep(0.1)
    document: dict[str, Any] = found
    return document


def _compare(lab: Lab, run: str, over: dict[str, Any], outcome: Outcome) -> None:
    found = {row["name"]: row for row in lab.rows(_RAW if outcome.results == "raw" else _SLICES, run)}
    for turret in lab.turrets:
        counted = turret.counted
        row = found.get(turret.name, {"stored": 0, "different": 0, "last": 0})
        outcome.counted += counted
        outcome.stored += row["stored"]
        if not row["stored"] == row["different"] == row["last"]:
            outcome.faults.append(
                f"{turret.name}: {row['stored']:,} are stored, {row['different']:,} different, up to {row['last']:,}"
            )
        if turret.killed:
            # Its undelivered results are lost, and no other process knows them.
            outcome.unsent += counted - row["stored"]
        if row["stored"] > counted or (row["stored"] < counted and not turret.killed):
            outcome.faults.append(f"{turret.name}: {row['stored']:,} are stored, {counted:,} were done")
    summary = lab.document("GET", f"/turret-runs/{run}/summary")
    own = summary["timers"]["All transactions"]["count"]
    if not outcome.stored == own == over["transactions"] == summary["transactions"]:
        outcome.faults.append(
            f"{outcome.stored:,} are stored, the run has {over['transactions']:,}, its summary {own:,}"
        )


def _report(outcomes: Sequence[Outcome], seed: int) -> str:
    around = machine_info()
    rows = [
        (
            *(outcome.results, f"{outcome.counted:,}", f"{outcome.stored:,}", f"{outcome.headquarters}"),
            *(f"{outcome.turrets}", f"{outcome.unsent:,}", f"{len(outcome.faults)}", f"{outcome.seconds:.0f}"),
        )
        for outcome in outcomes
    ]
    head = (
        *("results", "done by turrets", "stored", "headquarters killed", "turrets killed"),
        *("never sent by those", "faults", "seconds"),
    )
    faults = [f"**{outcome.results}:** {fault}" for outcome in outcomes for fault in outcome.faults]
    remark = (
        f"SIGKILL at random times (seed {seed}), the database with the headquarters. A fault is a result that is "
        "stored twice, one that is missing of a turret that lived, a gap in those of one that was killed, or a total "
        "that is not the number of rows."
    )
    whole = table(tuple(around), [tuple(around.values())])
    return "\n\n".join(("# Turrets and headquarters killed at random", whole, table(head, rows), remark, *faults))


if __name__ == "__main__":
    sys.exit(stopping.run(main))
