"""Verdicts on simulated suites: false alarms and hits of the rule beside those of simpler ones.

    python -m benchmarks.verdicts [--suites 40] [--history 30]

Every rule sees the same sessions of `histories.Suite`. In the last two of them 30 of the 1,000 tests are slower: 10 by
each of 10, 20 and 50 %. A *first* alarm is one on the first of the two, a *confirmed* one is on both.
"""

from __future__ import annotations

import argparse
import math
import statistics
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence

from benchmarks import stopping
from benchmarks.histories import Session, Suite
from benchmarks.report import table
from smartmob.metrics.verdict.change_detection import ChangeLimits, ItemName, RunHistory, detect_changes
from smartmob.metrics.verdict.scales import SCALES

SIZES = (0.1, 0.2, 0.5)
EACH = 10

Alarms = tuple[set[str], set[str]]
"""The tests with a first alarm, and those with a confirmed one."""

Rule = Callable[[Sequence[Session], Session, Session], Alarms]

_STUDENT = 2.756
"""The 99.5th percentile of Student's t with 29 degrees of freedom."""


def ours(history: Sequence[Session], head: Session, following: Session) -> Alarms:
    """Return the alarms of the rule of `smartmob.metrics.verdict.change_detection`."""
    before, limits = [_named(session) for session in history], ChangeLimits()
    first = detect_changes(RunHistory(before, [_named(head)]), SCALES["total_time"], limits).changes
    both = detect_changes(
        RunHistory(before, [_named(head)], after=_named(following)), SCALES["total_time"], limits
    ).changes
    return (
        {name[1] for name, change in first.items() if change.direction > 0},
        {name[1] for name, change in both.items() if change.direction and change.confirmed},
    )


def _named(session: Session) -> dict[ItemName, float]:
    return {("suite", name, name, "function"): value for name, value in session.items()}


def _simple(is_alarm: Callable[[Sequence[float], float], bool]) -> Rule:
    """Return a rule that looks at one test at a time."""

    def rule(history: Sequence[Session], head: Session, following: Session) -> Alarms:
        past = {name: [session[name] for session in history] for name in head}
        first = {name for name in head if is_alarm(past[name], head[name])}
        return first, {name for name in first if is_alarm(past[name], following[name])}

    return rule


def _above(share: float) -> Rule:
    return _simple(lambda past, value: value > past[-1] * (1.0 + share))


def _sigma(past: Sequence[float], value: float) -> bool:
    return value > statistics.fmean(past) + 3.0 * statistics.stdev(past)


def _student(past: Sequence[float], value: float) -> bool:
    spread = statistics.stdev(past) * math.sqrt(1.0 + 1.0 / len(past))
    return value > statistics.fmean(past) + _STUDENT * spread


RULES: dict[str, Rule] = {
    "10 % more than the session before": _above(0.1),
    "20 % more than the session before": _above(0.2),
    "3 sigma above the mean of the history": _simple(_sigma),
    "t-test against the history, 1 %": _simple(_student),
    "smartmob": ours,
}


def simulate(rules: dict[str, Rule], suites: int, history: int, tests: int = 1_000) -> dict[str, Counter[str]]:
    """Return for each rule the sums over all suites: alarms on unchanged tests, and hits by size."""
    found: dict[str, Counter[str]] = {name: Counter() for name in rules}
    for seed in range(suites):
        suite = Suite.of(seed, tests)
        past = [suite.session() for _ in range(history)]
        factors = suite.changes(SIZES, EACH)
        head, following = suite.session(factors), suite.session(factors)
        for name, rule in rules.items():
            for kind, alarms in zip(("first", "confirmed"), rule(past, head, following), strict=True):
                for test in alarms:
                    what = f"{factors[test] - 1:.0%}" if test in factors else "false"
                    found[name][f"{kind} {what}"] += 1
    return found


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--suites", type=int, default=40)
    parser.add_argument("--history", type=int, default=30)
    asked = parser.parse_args()
    found = simulate(RULES, asked.suites, asked.history)
    hits = [f"{size:.0%}" for size in SIZES]
    head = ("rule", *(f"{kind} {what}" for kind in ("first", "confirmed") for what in ("false", *hits)))
    rows = []
    for name, counter in found.items():
        cells = [f"{counter[column] / asked.suites:.1f}" for column in head[1:] if column.endswith("false")]
        shares = {column: f"{counter[column] / asked.suites / EACH:.0%}" for column in head[1:]}
        false = iter(cells)
        rows.append((name, *(next(false) if column.endswith("false") else shares[column] for column in head[1:])))
    print(f"{asked.suites} suites of 1,000 tests, a history of {asked.history}: false alarms in a session, and hits\n")
    print(table(head, rows))
    print(f"\n{_cost(asked.history):.0f} ms to judge 1,000 tests.")


def _cost(history: int) -> float:
    """Return the milliseconds that the rule takes, the least of five rounds."""
    suite = Suite.of(1)
    past, head = [_named(suite.session()) for _ in range(history)], _named(suite.session())
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        detect_changes(RunHistory(past, [head]), SCALES["total_time"], ChangeLimits())
        taken.append(time.perf_counter() - started)
    return min(taken) * 1000


if __name__ == "__main__":
    sys.exit(stopping.run(main))
