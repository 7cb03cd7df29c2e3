"""Change points in simulated histories: false alarms and hits of `smartmob tests trends`, by counting.

    python -m benchmarks.trends [--series 1000] [--runs 100]

Each history has one kind of noise and one kind of change. A change is found if a step of its direction lies within two
runs of it. A false alarm is any step or drift in a history without a change, or a step further from it.
"""

from __future__ import annotations

import argparse
import math
import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from benchmarks import stopping
from benchmarks.histories import Suite
from benchmarks.report import table
from smartmob.metrics.verdict.change_detection import ChangeLimits, ItemName
from smartmob.metrics.verdict.change_points import Changes, find_changes
from smartmob.metrics.verdict.scales import SCALES
from smartmob.metrics.verdict.trends import MeasuredPlace, MeasuredRun, find_trends

_NEAR = 2  # runs between a change and the step that counts as found
_EFFECT = math.log1p(0.05)

Noise = Callable[[random.Random], float]


def _heavy(source: random.Random) -> float:
    """Return Student's t with 4 degrees of freedom, scaled to 1; one value in 50 is an outlier of 10 to 30 times."""
    student = source.gauss(0, 1) / math.sqrt(source.gammavariate(2, 2) / 4) / math.sqrt(2)
    return student + (source.uniform(10, 30) if source.random() < 0.02 else 0.0)


NOISES: dict[str, Noise] = {
    "normal": lambda source: source.gauss(0, 1),
    "Laplace": lambda source: source.choice((-1, 1)) * source.expovariate(1) / math.sqrt(2),
    "heavy tails with outliers": _heavy,
    "two modes": lambda source: source.gauss(0, 0.2) + (2.0 if source.random() < 0.3 else 0.0),
    "exponential": lambda source: source.expovariate(1),
}


def matters(before: float, after: float) -> bool:
    """Return whether a change is at least 5 %."""
    return abs(after - before) >= _EFFECT


def history(source: random.Random, noise: Noise, sigma: float, runs: int, change: str, size: float) -> list[float]:
    """Return a history as logarithms."""
    middle = runs // 2
    added = {
        "none": lambda _: 0.0,
        "step": lambda run: size if run >= middle else 0.0,
        "last 5 runs": lambda run: size if run >= runs - 5 else 0.0,
        "excursion of 6 runs": lambda run: size if middle <= run < middle + 6 else 0.0,
        "drift": lambda run: size * run / runs,
    }[change]
    return [sigma * noise(source) + added(run) for run in range(runs)]


def first_of(change: str, runs: int) -> list[int]:
    """Return the runs at which the level of a history changes."""
    middle = runs // 2
    return {"step": [middle], "last 5 runs": [runs - 5], "excursion of 6 runs": [middle, middle + 6]}.get(change, [])


def count(series: int, runs: int, noise: Noise, sigma: float, change: str, size: float = 0.0) -> tuple[int, int]:
    """Return the number of histories in which all changes were found, and of those with a false alarm."""
    hits = false = 0
    for seed in range(series):
        found = find_changes(history(random.Random(seed), noise, sigma, runs, change, size), matters)
        hit, wrong = judge(found, change, runs)
        hits += hit
        false += wrong
    return hits, false


def judge(found: Changes, change: str, runs: int) -> tuple[bool, bool]:
    """Return whether all changes of a history were found, and whether something else was."""
    if change == "drift":
        return found.drift is not None or bool(found.steps), False
    wanted = first_of(change, runs)
    hit = [any(abs(step.first - place) <= _NEAR for step in found.steps) for place in wanted]
    wrong = [step for step in found.steps if not any(abs(step.first - place) <= _NEAR for place in wanted)]
    return bool(hit) and all(hit), bool(wrong) or found.drift is not None


def suite_false_alarms(suites: int, runs: int, tests: int = 300) -> tuple[int, int]:
    """Return the false trends, and the series, in suites of `histories.Suite` in which nothing changes."""
    false = 0
    for seed in range(suites):
        suite = Suite.of(seed, tests)
        names: dict[str, ItemName] = {test.name: ("suite", test.name, test.name, "function") for test in suite.tests}
        start = datetime(2026, 1, 1, tzinfo=UTC)
        measured = [
            MeasuredRun(start, str(run), "", {names[name]: value for name, value in suite.session().items()})
            for run in range(runs)
        ]
        place = MeasuredPlace("c", "", "", {name: name[1] for name in names.values()})
        found = find_trends(measured, place, SCALES["total_time"], ChangeLimits())
        false += len({(trend.path, trend.item) for trend in found})
    return false, suites * (tests + 1)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--series", type=int, default=1_000)
    parser.add_argument("--runs", type=int, default=100)
    asked = parser.parse_args()
    rows = []
    for name, noise in NOISES.items():
        for sigma in (0.02, 0.1):
            _, false = count(asked.series, asked.runs, noise, sigma, "none")
            cells = [f"{false / asked.series:.2%}"]
            for change, sizes in (
                ("step", (2, 5)),
                ("last 5 runs", (5,)),
                ("excursion of 6 runs", (5,)),
                ("drift", (5,)),
            ):
                for size in sizes:
                    hits, _ = count(asked.series // 4, asked.runs, noise, sigma, change, size * sigma)
                    cells.append(f"{hits / (asked.series // 4):.0%}")
            rows.append((name, f"{sigma:.0%}", *cells))
    print(f"{asked.series} histories of {asked.runs} runs; changes are in units of the noise\n")
    head = ("noise", "size", "false", "step 2", "step 5", "last 5 runs, 5", "excursion, 5", "drift 5")
    print(table(head, rows))
    began = time.perf_counter()
    false, number = suite_false_alarms(4, asked.runs)
    took = time.perf_counter() - began
    print(f"\nSuites on machines that vary: {false} of {number} series with a false trend, {false / number:.2%}.")
    print(f"{took / number * 1e3:.1f} ms for each series, with the simulation.")
    source = random.Random(0)
    histories = [history(source, _heavy, 0.05, asked.runs, "none", 0) for _ in range(200)]
    began = time.perf_counter()
    for one in histories:
        find_changes(one, matters)
    print(f"\n{(time.perf_counter() - began) / 200 * 1e3:.2f} ms for each history.")


if __name__ == "__main__":
    sys.exit(stopping.run(main))
