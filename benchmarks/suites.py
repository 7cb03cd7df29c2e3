"""False alarms and hits of `smartmob ab` on real suites, unchanged and with changes that are injected into their tests.

    python -m benchmarks.suites --python ENV/bin/python [--busy] [--only same-clock,…] FOLDER [FOLDER…]

Each folder is the unpacked source of a project whose tests run with that Python by `pytest`, for example an sdist. It
is copied, and nothing is written into it. Both sides are one code; in head, calls of up to 20 tests get more work, a
sleep, or memory. The tests are drawn by lot: from those whose instructions are the same in each run, or, if only
experiments by the clock are asked for, from those that take a millisecond.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks import stopping
from benchmarks.report import table
from smartmob.experiments import measuring_machine

_PLUGIN = "injected_changes"
_INJECTOR = '''"""Changes the calls of some tests; the document beside says which, and how."""

import functools
import itertools
import json
import pathlib
import time

CHANGES = json.loads(pathlib.Path(__file__).with_suffix(".json").read_text())


def work(number):
    found = 0
    for each in itertools.repeat(3, number):  # each turn costs the same, that of a range would make numbers
        found = each & 7
    return found


def changed(call, loops, sleep, size):
    work(loops)
    if sleep:
        time.sleep(sleep)
    held = bytearray(size)
    call()
    return held


def pytest_collection_modifyitems(items):
    for item in items:
        item.runtest = functools.partial(changed, item.runtest, *CHANGES.get(item.nodeid, (0, 0, 0)))
'''
_CALIBRATION = f"from {_PLUGIN} import work\n\ndef test_few():\n    work(10000)\n\ndef test_many():\n    work(110000)\n"
_LOOPS_COUNT = 100_000  # the difference of both tests
_BUSY = """
import random, time
while True:
    time.sleep(random.uniform(1, 6))
    end = time.monotonic() + random.uniform(1, 4)
    while time.monotonic() < end:
        pass
"""
_MOST_CHANGED_COUNT = 20
_FEWEST_INSTRUCTIONS = 300_000  # of a test that is changed: pytest takes 100,000 of a call, and calls differ by 1,000
_RUNS_COUNT = 30  # of the suite, within which 20 % is to be found by the clock
_MEBIBYTE = 1 << 20
_SHORTEST_SECONDS = 0.001  # of a test that is changed by a share of its time: pytest takes a part of shorter ones
_PLAIN_RUNS_COUNT = 3
_MOST_IDLE = 0.02  # the difference of the log-ratios of a test that computes, by the clock and on a processor
_SHORTEST_SLEEP_SECONDS = 0.0005  # the kernel wakes a sleeper some 0.06 ms too late
_SMALL, _LARGE = 0.02, 0.2

_CLOCKED = {"same-clock", "work-20-clock", "sleep-20-clock"}  # experiments without instructions
_TIMING = ("--witness", "clock", "--max-pairs", "8", "--max-time", "1h")
_COUNTING = ("--witness", "instructions", "--max-pairs", "6", "--max-time", "1h")

EXPERIMENTS = ("same-instructions", "same-clock", "work-2-instructions", "work-20-clock", "sleep-20-clock", "memory")

Changes = Mapping[str, tuple[int, float, int]]
"""Loops of work, seconds of sleep and bytes of memory by node id."""


class Suite:
    """Two copies of a project, and the experiments on them."""

    def __init__(self, project: Path, folder: Path, python: str) -> None:
        self.name = project.resolve().name
        self._sides = (folder / "a", folder / "b")
        self._python = python
        for side in self._sides:
            shutil.copytree(project, side, symlinks=True)
            (side / f"{_PLUGIN}.py").write_text(_INJECTOR)
        self.change({})
        self._run()  # compiles
        self.seconds = statistics.median(self._run() for _ in range(_PLAIN_RUNS_COUNT))

    def change(self, changes: Changes) -> None:
        """Change the calls of tests of head."""
        for side, its in zip(self._sides, ({}, changes), strict=True):
            (side / f"{_PLUGIN}.json").write_text(json.dumps(its))

    def measure(self, *options: str, words: Sequence[str] = ()) -> dict[str, Any]:
        """Return the report of `smartmob ab`."""
        command = [sys.executable, "-m", "smartmob", "ab", *map(str, self._sides), "--python", self._python, "--json"]
        done = subprocess.run(
            [*command, "--no-store", *options, "--", *words],
            env=os.environ | {"PYTEST_PLUGINS": _PLUGIN},
            stdout=subprocess.PIPE,
            stderr=sys.stderr,
            check=False,
        )
        if done.returncode not in (0, 1):  # 1 is the answer of --fail-on
            raise SystemExit(f"{self.name}: `smartmob ab` ended with {done.returncode}")
        found: dict[str, Any] = json.loads(done.stdout)
        return found

    def _run(self) -> float:
        """Return the seconds of one run of the suite without measures, with the priority of those of `smartmob ab`."""
        began = time.monotonic()
        words = [self._python, "-m", "pytest", "-q", "-p", "no:cacheprovider"]
        nice = measuring_machine.priority()
        if nice is not None:  # of the process in its session, and of the session; sched(7), autogroup
            raised = f'echo {nice} > /proc/self/autogroup; exec nice -n {nice} "$@"'
            words = ["sh", "-c", raised, "sh", *words]
        path = f"{self._sides[0] / 'src'}:{self._sides[0]}"
        environment = os.environ | {"PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": ""}
        done = subprocess.run(
            words,
            cwd=self._sides[0],
            env=environment,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
            check=False,
        )
        if done.returncode not in (0, 1):
            raise SystemExit(f"{self.name}: pytest ended with {done.returncode}")
        return time.monotonic() - began


def loop_costs(python: str, folder: Path, *, counted: bool) -> tuple[float, float]:
    """Return the instructions of one loop of work, or NaN if they are not counted, and its seconds."""
    project = folder / "calibration"
    project.mkdir()
    (project / "test_work.py").write_text(_CALIBRATION)
    suite = Suite(project, folder / "calibrated", python)
    few, many = suite.measure(*(_COUNTING if counted else _TIMING))["tests"]
    instructions = many["instructions"]["base"] - few["instructions"]["base"] if counted else math.nan
    return instructions / _LOOPS_COUNT, (many["base_seconds"] - few["base_seconds"]) / _LOOPS_COUNT


def _is_steady(test: Mapping[str, Any]) -> bool:
    counts = test["instructions"]
    if counts is None:  # where the clock and the time on a processor disagree, it waits or starts programs
        return abs(math.log(test["cpu_ratio"] / test["ratio"])) < _MOST_IDLE
    return bool(counts["verdict"] == "equal" and counts["base"] >= _FEWEST_INSTRUCTIONS and test["verdict"] == "same")


def drawn(report: Mapping[str, Any], least_seconds: float = 0.0) -> list[dict[str, Any]]:
    """Return up to 20 tests by lot, with the same instructions in each run if these were counted."""
    usable = [test for test in report["tests"] if (test["base_seconds"] or 0.0) >= least_seconds and _is_steady(test)]
    return random.Random(21).sample(usable, min(_MOST_CHANGED_COUNT, len(usable)))


def row(name: str, what: str, report: Mapping[str, Any], changes: Changes, one_run: float) -> list[str]:
    """Return the row of an experiment: hits and false alarms."""
    key = "memory" if what == "memory" else "time"
    said = {
        test["name"]: test["verdict"]
        if key == "time"
        else {"more": "slower", "less": "faster"}.get((test["memory"] or {}).get("verdict", ""), "")
        for test in report["tests"]
    }
    for test in report["tests"]:
        if test["name"] in changes and said[test["name"]] != "slower":
            print(f"{name}, {what}: not found: {test}", file=sys.stderr)
    ratios = [test["ratio"] for test in report["tests"] if test["name"] in changes and test["ratio"] is not None]
    if ratios:
        print(f"{name}, {what}: median ratio of the changed tests {statistics.median(ratios):.3f}", file=sys.stderr)
    alarms = [each for each in said if each not in changes and said[each] in ("slower", "faster")]
    for test in report["tests"]:
        if test["name"] in alarms:
            print(f"{name}, {what}: false alarm: {test}", file=sys.stderr)
    found = sum(said.get(each) == "slower" for each in changes)
    return [
        *(f"{name}, {what}", str(len(said)), str(len(alarms))),
        f"{found} of {len(changes)}" if changes else "",
        str(sum(said.get(each) == "faster" for each in changes)) if changes else "",
        *(str(len(report["pairs"])), f"{one_run:.1f} s", f"{report['seconds'] / one_run:.1f}"),
    ]


@contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """Run a program that takes a core for seconds at random during the block, if it is wanted."""
    if not wanted:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", _BUSY], start_new_session=True) as process:
        nice = measuring_machine.priority()
        if nice is not None:  # that of the tests, which would otherwise hardly feel it
            measuring_machine.set_priority(process.pid, nice)
        try:
            yield
        finally:
            process.kill()


def experiments(suite: Suite, only: Sequence[str], max_time: str, loop: tuple[float, float]) -> Iterator[list[str]]:
    """Yield the rows of a suite."""
    if "same-clock" in only:
        report = suite.measure("--witness", "clock", "--max-time", max_time)
        yield row(suite.name, "same-clock", report, {}, suite.seconds)
    if set(only) <= {"same-clock"}:
        return
    counted = not set(only) <= _CLOCKED
    by_count = suite.measure(*(_COUNTING if counted else _TIMING))
    tests = drawn(by_count)
    if "same-instructions" in only:
        yield row(suite.name, "same-instructions", by_count, {}, suite.seconds)
    workers = drawn(by_count, _SHORTEST_SECONDS)
    sleepers = drawn(by_count, _SHORTEST_SLEEP_SECONDS / _LARGE)
    thirty = ("--witness", "clock", "--max-time", f"{max(1, round(_RUNS_COUNT * suite.seconds))}s")
    memory = ("--witness", "clock", "--max-pairs", "20", "--fail-on", "memory")
    loops = {test["name"]: round(_SMALL * test["instructions"]["base"] / loop[0]) for test in tests if counted}
    longer = {test["name"]: round(_LARGE * test["base_seconds"] / loop[1]) for test in workers}
    cases: Sequence[tuple[str, Changes, Sequence[str], bool]] = (
        ("work-2-instructions", {name: (number, 0, 0) for name, number in loops.items()}, _COUNTING, True),
        ("work-20-clock", {name: (number, 0, 0) for name, number in longer.items()}, thirty, False),
        ("sleep-20-clock", {each["name"]: (0, _LARGE * each["base_seconds"], 0) for each in sleepers}, thirty, False),
        ("memory", dict.fromkeys(loops, (0, 0, _MEBIBYTE)), memory, True),
    )
    for what, changes, options, alone in cases:
        if what in only and changes:
            suite.change(changes)
            report = suite.measure(*options, words=list(changes) if alone else ())
            yield row(suite.name, what, report, changes, suite.seconds)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("projects", nargs="+", type=Path, metavar="FOLDER")
    parser.add_argument("--python", required=True, help="the Python of an environment that has what the tests need")
    parser.add_argument("--busy", action="store_true", help="take a core for seconds at random meanwhile")
    parser.add_argument("--only", default=",".join(EXPERIMENTS), help="some of %(default)s")
    parser.add_argument("--max-time", default="5m", help="the time of same-clock, %(default)s")
    options = parser.parse_args()
    python = str(Path(options.python).absolute())
    rows = []
    with tempfile.TemporaryDirectory() as name, busy(options.busy):
        only = options.only.split(",")
        counted = not set(only) <= _CLOCKED
        loop = (1.0, 1.0) if set(only) <= {"same-clock"} else loop_costs(python, Path(name), counted=counted)
        for number, project in enumerate(options.projects):
            suite = Suite(project, Path(name) / str(number), python)
            for found in experiments(suite, only, options.max_time, loop):
                rows.append(found)
                print(*found, sep=" | ", file=sys.stderr, flush=True)
    head = ("experiment", "tests", "false alarms", "found", "wrong direction", "pairs", "one run", "time / one run")
    print(table(head, rows))


if __name__ == "__main__":
    sys.exit(stopping.run(main))
