"""Measures what a start costs: `python -m benchmarks.startup [--rounds N] [--beside FOLDER] [--only NAME,…]`.

It starts the service on a data directory that exists, until `GET /health` is answered, and then runs commands against
it. Costs are processor time, which other programs of a busy machine change little; the time on the clock and the memory
of the service (proportional, as `/proc/PID/smaps_rollup` has it) stand beside it. With `--beside` the source in another
folder does the same, by turns, and each figure has its ratio to that one. PostgreSQL is counted apart.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psutil

from benchmarks import stopping
from benchmarks.candidates import ROOT, CannotMeasure, Service, say, service_of
from benchmarks.report import Spread, table

_PARTS = {
    "python": ("-c", "pass"),
    "python -c 'from aiohttp import web'": ("-c", "from aiohttp import web"),
    "--version": ("-m", "smartmob", "--version"),
    "run --help": ("-m", "smartmob", "run", "--help"),
    "ps": ("-m", "smartmob", "ps"),
    "hosts ls": ("-m", "smartmob", "hosts", "ls"),
    "tests ls": ("-m", "smartmob", "tests", "ls"),
    "jobs": ("-m", "smartmob", "jobs"),
    "exec true": ("-m", "smartmob", "exec", "true"),
    "cp FILE :": ("-m", "smartmob", "cp", __file__, ":startup.txt"),
    "turret --help": ("-m", "smartmob", "turret", "--help"),
    "import of a turret": ("-c", "import smartmob.cli.turret, smartmob.turrets.turret.session"),
    "import of a node": ("-c", "import smartmob.node_app, smartmob.node_membership"),
    "import of the service": ("-c", "import smartmob.cli.serve, smartmob.app"),
}
"""Programs that are run to their end, by what they are called; the service runs meanwhile."""

_SETTLE_SECONDS = 1.0
"""Between the first answer and the look at the memory."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and print the table."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--beside", type=Path, metavar="FOLDER", help="source of another version")
    parser.add_argument("--only", default="", metavar="NAME,…", help=f"some of serve, {', '.join(_PARTS)}")
    options = parser.parse_args(arguments)
    wanted = [name for name in options.only.split(",") if name]
    sources = [ROOT, *([options.beside.resolve()] if options.beside else [])]
    found: dict[tuple[Path, str], list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="smartmob-bench-") as name:
        folder = Path(name)
        folder.chmod(0o711)  # the system user of the database walks through it
        for number in range(options.rounds + 1):  # the first one makes the data directory and the bytecode
            for source in sources if number % 2 else sources[::-1]:
                for what, value in _round(source, folder / str(sources.index(source)), wanted):
                    if number:
                        found.setdefault((source, what), []).append(value)
            say(f"round {number} of {options.rounds}")
    rows = []
    for (source, what), values in found.items():
        if source == ROOT:
            ours = Spread.of(values)
            form = ".1f"
            beside = [Spread.of(found[other, what]) for other in sources[1:]]
            rows.append((what, ours.text(form), *(t for each in beside for t in (each.text(form), _ratio(ours, each)))))
    head = ("what", "here", *(("beside", "here / beside") if options.beside else ()))
    print(table(head, rows))
    return 0


def _ratio(ours: Spread, other: Spread) -> str:
    return f"{ours.median / other.median:.2f}" if other.median else ""


def _round(source: Path, data_dir: Path, wanted: Sequence[str]) -> Iterator[tuple[str, float]]:
    variables = {"PYTHONPATH": str(source), "PYTHONSAFEPATH": "1"}
    with _serving(source, data_dir, variables) as service:
        if not wanted or "serve" in wanted:
            process, postgres = _clock(service.pid), service.database_cpu_seconds()
            children = sum(_clock(child.pid) for child in psutil.Process(service.pid).children(recursive=True))
            yield "serve to the first answer, CPU ms", process * 1e3
            yield "its other processes, CPU ms", children * 1e3
            yield "PostgreSQL, CPU ms (ticks of 10)", postgres * 1e3
            yield "serve to the first answer, ms", service.first_answer * 1e3
            time.sleep(_SETTLE_SECONDS)
            for kind, kib in _memory(service.pid).items():
                yield f"serve, {kind} MB", kib * 1024 / 1e6
        variables |= {"SMARTMOB_SERVER": f"http://127.0.0.1:{service.port}"}
        for what, words in _PARTS.items():
            if not wanted or what in wanted:
                yield f"{what}, CPU ms", _spent(words, variables) * 1e3


@contextmanager
def _serving(source: Path, data_dir: Path, variables: dict[str, str]) -> Iterator[Service]:
    with service_of([sys.executable, "-m", "smartmob"], data_dir, **variables) as service:
        modules = Path(f"/proc/{service.pid}/environ").read_bytes()
        if f"PYTHONPATH={source}".encode() not in modules:
            raise CannotMeasure(f"the service does not run from {source}")
        yield service


def _spent(words: Sequence[str], variables: dict[str, str]) -> float:
    """Return the seconds of processor time of a Python program and its children; raises CannotMeasure if it fails."""
    kept = {k: v for k, v in os.environ.items() if not k.startswith("SMARTMOB_") and k != "PYTHONDONTWRITEBYTECODE"}
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [sys.executable, *words], env=kept | variables, stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise CannotMeasure(f"{words} ended with {process.returncode}: {output.read()[-500:]!r}")
    return usage.ru_utime + usage.ru_stime


def _clock(pid: int) -> float:
    """Return the seconds of processor time of a process and its threads, to the microsecond: clock_getcpuclockid(3)."""
    return time.clock_gettime((~pid << 3) | 2)


def _memory(pid: int) -> dict[str, int]:
    """Return the proportional and the private memory of a process in KiB."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:]
    found = {line.split(":")[0]: int(line.split()[1]) for line in lines}
    return {"proportional": found["Pss"], "private": found["Private_Clean"] + found["Private_Dirty"]}


if __name__ == "__main__":
    sys.exit(stopping.run(main))
