"""`smartmob ab --selftest`: one version against itself, and against itself with each call made longer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from smartmob.cli import experiment_formats, printing
from smartmob.counts import counted
from smartmob.experiments.model import ExperimentReport

INJECTED = 0.1
"""The share by which each call of the second experiment is longer."""

_CHANGED = ("slower", "faster")


def result(unchanged: ExperimentReport, injected: Sequence[ExperimentReport]) -> dict[str, Any]:
    """Return what both experiments have found, as a document; the second one is missing after CTRL-C."""
    false = [test.name for test in unchanged.tests if test.verdict in _CHANGED]
    counts = Counter(test.verdict for report in injected for test in report.tests)
    widths = [math.log(test.high / test.low) / 2 for test in unchanged.tests if test.low and test.high]
    return {
        "tests": len(unchanged.tests),
        "false_alarms": false,
        "same": sum(test.verdict == "same" for test in unchanged.tests),
        "injected": INJECTED,
        "found": counts["slower"],
        "wrong_direction": counts["faster"],
        "not_found": counts["same"] + counts["undecided"] + counts["unfit"],
        "half_width": median(widths) if widths else None,
        "pairs": len(unchanged.pairs),
    }


def show(unchanged: ExperimentReport, injected: Sequence[ExperimentReport], form: str) -> int:
    """Print the result, and return 1 if there was a false alarm or a wrong direction, 0 otherwise."""
    found = result(unchanged, injected)
    if form == "json":
        reports = [experiment_formats.document(report) for report in (unchanged, *injected)]
        printing.print_json({**found, "experiments": reports})
    else:
        printing.print_lines(printing.plain(line) for line in _lines(unchanged, found))
    return int(bool(found["false_alarms"] or found["wrong_direction"]))


def _lines(unchanged: ExperimentReport, found: dict[str, Any]) -> list[str]:
    """Return the result in sentences."""
    tests = found["tests"]
    lines = [
        f"{unchanged.base.given} against itself: {counted(len(found['false_alarms']), 'false alarm')} on "
        f"{counted(tests, 'test')}, "
        f"{found['same']} the same, the rest undecided.",
        *(f"  false alarm: {name}" for name in found["false_alarms"]),
        f"{INJECTED:.0%} longer: {found['found']} of {tests} found by the clock, {found['wrong_direction']} with the "
        f"wrong direction, {found['not_found']} not.",
    ]
    if found["half_width"] is not None:
        lines.append(
            f"After {found['pairs']} pairs the interval of a test is ±{math.expm1(found['half_width']):.0%} in the "
            "median: smaller changes are for the instructions, or need more pairs."
        )
    else:
        lines.append(f"{found['pairs']} pairs allow no interval yet: raise --max-time.")
    return [*lines, *filter(None, [experiment_formats.busy(unchanged)]), *unchanged.notes]
