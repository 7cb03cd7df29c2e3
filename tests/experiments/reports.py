"""Reports of experiments, as `smartmob ab` makes them."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any

import msgspec

from smartmob.experiments.decision import overall
from smartmob.experiments.model import (
    ExperimentReport,
    Instructions,
    MemoryDifference,
    Pair,
    SideReport,
    Verdict,
    VerdictOnTest,
)
from smartmob.kernel.runtime import ids

BEGIN = datetime(2026, 11, 23, 9, tzinfo=UTC)


def verdict(name: str, kind: Verdict = "same", ratio: float | None = 1.0, **more: Any) -> VerdictOnTest:
    """Return the verdict of the clock on a test, with an interval of 5 % on both sides."""
    found = VerdictOnTest(
        name=name,
        verdict=kind,
        witness="" if kind in ("undecided", "unfit") else "clock",
        clock=kind,
        ratio=ratio,
        low=None if ratio is None else ratio * 0.95,
        high=None if ratio is None else ratio * 1.05,
        cpu_ratio=ratio,
        pairs=3,
        set_aside=0,
        base_seconds=0.01,
        head_seconds=None if ratio is None else 0.01 * ratio,
    )
    return msgspec.structs.replace(found, **more)


def report(*tests: VerdictOnTest, pairs: int = 3, **more: Any) -> ExperimentReport:
    """Return the report of an experiment on a machine called rack7; by default it has a test of each verdict."""
    found = list(tests) or [
        verdict("t.py::test_same", instructions=Instructions("equal", 100, 100, 1.0, 0.0)),
        verdict("t.py::test_slower", "slower", 1.4, memory=MemoryDifference("more", 2e6, 1e6, 3e6)),
        verdict("t.py::test_faster", "faster", 0.7),
        verdict("t.py::test_counted", "slower", 1.02, witness="instructions", clock="undecided",
                instructions=Instructions("more", 1000, 1021, 1.021, 0.0)),
        verdict("t.py::test_open[=1+1 <b>]", "undecided", None),
        verdict("t.py::test_busy", "unfit", 1.1, set_aside=9),
    ]  # fmt: skip
    made = ExperimentReport(
        verdict=overall(found),
        base=SideReport("main", "revision", "1" * 40, "3.11.2"),
        head=SideReport("HEAD", "revision", "2" * 40, "3.11.2"),
        tests=found,
        min_effect=0.03,
        confidence=0.95,
        pairs=[
            Pair(
                number=number + 1,
                first="base" if number % 2 else "head",
                seed=number + 1,
                seconds=2.0,
                ratios={test.name: math.log(test.ratio) + 0.01 * number for test in found if test.ratio},
                others={"postgres": 0.3},
                at=10.0 + 3 * number,
            )
            for number in range(pairs)
        ],
        seconds=30.0,
        ended="all tests are decided",
        machine={"name": "rack7", "processors": 2, "turbo": True},
        notes=["a <note>"],
        id=ids.uuid7(),
        started_at=BEGIN,
    )
    return msgspec.structs.replace(made, **more)
