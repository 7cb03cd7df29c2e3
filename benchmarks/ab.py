"""Decisions of `smartmob ab` on simulated pairs: false alarms, hits and pairs beside those of other rules.

    python -m benchmarks.ab [--tests 1000] [--pairs 100]

Each rule sees pairs of runs of tests that are unchanged, or slower by 10 or 20 %. The model of the noise was not used
to choose the constants of the rule: the noise has phases of 5 and of 15 %, the machine drifts, each process has a bias
of its own, and one run in thirty takes much longer.
"""

from __future__ import annotations

import argparse
import math
import random
import statistics
import sys
from collections.abc import Callable, Iterator, Sequence

from benchmarks import stopping
from benchmarks.report import table
from smartmob.experiments.confidence_sequence import ConfidenceSequence
from smartmob.experiments.decision import ALARM_EVIDENCE, FEWEST_PAIRS_COUNT
from smartmob.metrics.verdict.change_detection import ChangeLimits, ItemName, RunHistory, detect_changes
from smartmob.metrics.verdict.scales import SCALES

SIZES = (0.0, 0.1, 0.2)

Pairs = Iterator[tuple[float, float]]
"""The times of base and head, pair by pair."""

Rule = Callable[[Pairs, int], tuple[bool, int]]
"""Returns whether head is said to be slower, and the number of used pairs; the second argument is the most of them."""

_STUDENT = 3.66
"""The 99.95th percentile of Student's t with 29 degrees of freedom: one false alarm in 1,000, on both sides."""
_NORMAL, _POWER = 3.2905, 1.6449
"""The 99.95th and the 95th percentile of the normal distribution."""
_U_TEST = 3.0902
"""The percentile of the normal distribution for p < 0.002 of a test on both sides, which asv uses for samples."""
_ASV_FACTOR = 1.1


def pairs_of(lot: random.Random, slower: float) -> Pairs:
    """Yield pairs of times; head takes `1 + slower` times as long."""
    noise, drift = 0.05, 0.0
    while True:
        if lot.random() < 0.05:
            noise = 0.15 if noise == 0.05 else 0.05
        drift += lot.gauss(0, 0.01)
        first, second = (_time(lot, noise, drift) for _ in range(2))
        yield first, second * (1 + slower)


def _time(lot: random.Random, noise: float, drift: float) -> float:
    process = 0.03 * lot.gauss(0, 1) / math.sqrt(lot.gammavariate(2, 0.5))  # Student's t with 4 degrees of freedom
    outlier = lot.expovariate(1.0) if lot.random() < 1 / 30 else 0.0
    return 0.005 * math.exp(drift + process + abs(lot.gauss(0, noise)) + outlier)


def normal(lot: random.Random, slower: float) -> Pairs:
    """Yield pairs whose log-ratio has a normal spread of 12 %: the mean is the best estimate, as a t-test assumes."""
    while True:
        first, second = (0.005 * math.exp(lot.gauss(0, 0.12 / math.sqrt(2))) for _ in range(2))
        yield first, second * (1 + slower)


def two_speeds(lot: random.Random, slower: float) -> Pairs:
    """Yield pairs on a machine that changes between two speeds, 25 % apart, some of them within a pair."""
    fast = True
    while True:
        times = []
        for _ in range(2):
            fast = fast if lot.random() < 0.8 else not fast
            times.append((1.0 if fast else 1.25) * math.exp(lot.gauss(0, 0.04)))
        yield times[0], times[1] * (1 + slower)


MODELS: Sequence[tuple[str, Callable[[random.Random, float], Pairs]]] = (
    ("phases, drift and outliers", pairs_of),
    ("normal, 12 %", normal),
    ("two speeds", two_speeds),
)
"""Models of noise; none but the normal one was used to choose the constants of the rule."""


def efficiency(tests: int) -> list[list[object]]:
    """Return for each model the pairs of the sequence beside those of a fixed number that knows the spread."""
    rows: list[list[object]] = []
    for name, model in MODELS:
        lot = random.Random(98)
        known = [math.log(head / base) for (base, head), _ in zip(model(lot, 0.0), range(5_000), strict=False)]
        noise = statistics.stdev(known)
        row: list[object] = [name, f"{noise:.0%}"]
        for slower in SIZES[1:]:
            number = math.ceil(((_NORMAL + _POWER) * noise / math.log1p(slower)) ** 2)
            results = [
                sequence(model(random.Random(f"{name} {slower} {seed}"), slower), 40 * number) for seed in range(tests)
            ]
            used = statistics.fmean(number for _, number in results)
            row += [str(number), f"{used:.0f}", f"{used / number:.2f}"]
        rows.append(row)
    return rows


def sequence(pairs: Pairs, most: int) -> tuple[bool, int]:
    """Decide as `smartmob ab` does for a single test, looking after each pair."""
    found = ConfidenceSequence()
    for number, (base, head) in enumerate(pairs, 1):
        found.add(math.log(head / base))
        if number >= FEWEST_PAIRS_COUNT and found.evidence >= ALARM_EVIDENCE:
            return found.direction > 0, number
        if number >= most:
            break
    return False, most


def once(pairs: Pairs, most: int) -> tuple[bool, int]:
    """Compare one run of each side, with a threshold of 10 %."""
    base, head = next(pairs)
    return head > base * _ASV_FACTOR, 1


def minima(pairs: Pairs, most: int) -> tuple[bool, int]:
    """Compare the least of three runs of each side, with a threshold of 10 %."""
    base, head = zip(*(next(pairs) for _ in range(3)), strict=True)
    return min(head) > min(base) * _ASV_FACTOR, 3


def student(pairs: Pairs, most: int) -> tuple[bool, int]:
    """Test the mean of 30 log-ratios by Student's t."""
    values = [math.log(head / base) for base, head in (next(pairs) for _ in range(30))]
    return statistics.fmean(values) > _STUDENT * statistics.stdev(values) / math.sqrt(30), 30


def impatient(pairs: Pairs, most: int) -> tuple[bool, int]:
    """Repeat Student's test after each pair until it finds something."""
    values: list[float] = []
    for number, (base, head) in enumerate(pairs, 1):
        values.append(math.log(head / base))
        # Some percentile for few degrees of freedom is larger; this is what is done by hand.
        if number >= 10 and statistics.fmean(values) > _STUDENT * statistics.stdev(values) / math.sqrt(number):
            return True, number
        if number >= most:
            break
    return False, most


def asv(pairs: Pairs, most: int) -> tuple[bool, int]:
    """Decide as `asv continuous` does: a factor of 1.1 of the medians, and a U test of ten runs of each side."""
    base, head = zip(*(next(pairs) for _ in range(10)), strict=True)
    above = sum((b > a) + 0.5 * (b == a) for a in base for b in head)
    deviation = math.sqrt(10 * 10 * 21 / 12)
    is_different = abs(above - 50) / deviation > _U_TEST
    return is_different and statistics.median(head) > _ASV_FACTOR * statistics.median(base), 10


def history(pairs: Pairs, most: int) -> tuple[bool, int]:
    """Decide as `smartmob compare` does, with ten runs of base before and two of head."""
    name: ItemName = ("suite", "t", "t", "function")
    runs = [{name: next(pairs)[0]} for _ in range(10)]
    heads = [{name: next(pairs)[1]} for _ in range(2)]
    found = detect_changes(RunHistory(runs, [heads[0]], after=heads[1]), SCALES["total_time"], ChangeLimits()).changes
    change = found.get(name)
    return change is not None and change.direction > 0 and bool(change.confirmed), 6


def fixed(slower: float) -> Rule:
    """Return the test of a number of pairs that suffices for `slower` with a noise that is known beforehand."""
    lot = random.Random(99)
    known = [math.log(head / base) for (base, head), _ in zip(pairs_of(lot, 0.0), range(5_000), strict=False)]
    noise = statistics.stdev(known)
    number = math.ceil(((_NORMAL + _POWER) * noise / math.log1p(slower)) ** 2)

    def rule(pairs: Pairs, most: int) -> tuple[bool, int]:
        values = [math.log(head / base) for base, head in (next(pairs) for _ in range(number))]
        return statistics.fmean(values) > _NORMAL * noise / math.sqrt(number), number

    return rule


def simulate(rule: Rule, slower: float, tests: int, most: int) -> tuple[float, float]:
    """Return the share of tests that are said to be slower, and the mean number of pairs of these."""
    results = [rule(pairs_of(random.Random(f"{slower} {number}"), slower), most) for number in range(tests)]
    used = [number for found, number in results if found]
    return len(used) / tests, statistics.fmean(used) if used else math.nan


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tests", type=int, default=1000)
    parser.add_argument("--pairs", type=int, default=100)
    options = parser.parse_args()
    rules: Sequence[tuple[str, Callable[[float], Rule]]] = (
        ("one run each, 10 %", lambda _: once),
        ("least of three runs each, 10 %", lambda _: minima),
        ("`asv continuous`, ten runs each", lambda _: asv),
        ("t-test of 30 pairs", lambda _: student),
        ("t-test after each pair", lambda _: impatient),
        ("`smartmob compare`, ten runs before", lambda _: history),
        ("known spread, fixed number for 10 %", lambda _: fixed(0.1)),
        ("known spread, fixed number for 20 %", lambda _: fixed(0.2)),
        ("`smartmob ab`, by the clock", lambda _: sequence),
    )
    rows = []
    for name, make in rules:
        rule = make(0.0)
        false, _ = simulate(rule, 0.0, options.tests, options.pairs)
        row: list[object] = [name, f"{1000 * false:.1f}"]
        for slower in SIZES[1:]:
            found, pairs = simulate(rule, slower, max(1, options.tests // 5), options.pairs)
            row += [f"{found:.0%}", f"{pairs:.0f}" if found else "-"]
        rows.append(row)
    head = ("rule", "false in 1,000", "10 % found", "pairs", "20 % found", "pairs")
    print(table(head, rows))
    print()
    head = ("noise", "spread", "10 %: fixed number", "sequence", "ratio", "20 %: fixed number", "sequence", "ratio")
    print(table(head, efficiency(max(1, options.tests // 10))))


if __name__ == "__main__":
    sys.exit(stopping.run(main))
