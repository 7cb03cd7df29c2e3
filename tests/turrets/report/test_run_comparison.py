"""The comparison of two load tests."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from functools import cache
from itertools import pairwise
from typing import Any

import msgspec
import pytest

from smartmob.turrets.model import Counters, Run
from smartmob.turrets.report.run_comparison import (
    MOST_TIMERS,
    BatchedRun,
    RunComparison,
    common_timers,
    compared,
    difference_of,
    notes_of,
    plan,
)
from smartmob.turrets.result_files.load_sample import LoadSample
from smartmob.turrets.result_files.sample_slices import SampleSummary, slices
from tests.turrets.report.test_trust import FINE

BEGIN = 1_700_000_000.0


@cache
def _run(seed: int, factor: float = 1.0, errors: float = 0.01, rate: int = 40, seconds: int = 120) -> BatchedRun:
    """Return a run whose latency wanders slowly, and by a factor; it is made once, since comparisons only read it."""
    chance = random.Random(seed)
    samples, level = [LoadSample(BEGIN, 0.0, "mark", counted=False)], 0.0
    for second in range(seconds):
        level = 0.8 * level + chance.gauss(0, 0.03)
        for number in range(rate):
            took = 0.05 * factor * chance.lognormvariate(level, 0.3)
            failed = chance.random() < errors
            samples.append(LoadSample(BEGIN + second + number / rate, took, "page", failed, "no" * failed))
    batched = BatchedRun(seconds, ["", "page"])
    batched.add(slices(samples, SampleSummary(samples)))
    return batched


def _row(name: str) -> Run:
    moment = datetime(2026, 1, 1, tzinfo=UTC)
    return Run(
        id=name, name=name, state="finished", reason=None, created_at=moment, started_at=moment, ceased_at=moment,
        ended_at=moment, run_time=1.0, min_turrets=1, results="slices", transactions=0, errors=0, counters=Counters(),
        package=False, summary="", report="", live="",
    )  # fmt: skip


def _compare(first: BatchedRun, second: BatchedRun, reason: str = "") -> RunComparison:
    return compared((_row("a"), _row("b")), (first, second), reason)


def _verdicts(found: RunComparison) -> dict[str, str]:
    return {row.statistic: row.verdict for row in found.timers[0].statistics}


def test_equal_runs_are_the_same() -> None:
    """Of twenty pairs of runs that differ by chance, at most two are called different."""
    runs = [_run(seed) for seed in range(21)]
    found = [_compare(*pair).verdict for pair in pairwise(runs)]
    assert found.count("same") >= 18


@pytest.mark.parametrize(
    ("changed", "verdict", "statistic", "expected"),
    [
        ({"factor": 1.3}, "slower", "p50", "slower"),
        ({"factor": 0.7}, "faster", "p95", "faster"),
        ({"errors": 0.2}, "more errors", "errors", "more"),
        ({"rate": 30}, "lower rate", "rate", "fewer"),
    ],
)
def test_a_change_is_found(changed: dict[str, Any], verdict: str, statistic: str, expected: str) -> None:
    """Each with the figure that tells it, its size and its interval."""
    found = _compare(_run(1), _run(2, **changed))
    assert found.verdict == verdict
    assert _verdicts(found)[statistic] == expected
    (row,) = [row for row in found.timers[0].statistics if row.statistic == statistic]
    assert row.low is not None
    assert row.high is not None
    assert row.change is not None
    assert row.low <= row.change <= row.high


def test_a_change_below_the_least_effect_is_the_same() -> None:
    """However sure it is."""
    found = _compare(_run(1, seconds=300), _run(1, factor=1.02, seconds=300))
    assert _verdicts(found)["p50"] == "same"


def test_too_few_values_are_unfit_with_the_number_needed() -> None:
    """A percentile of a batch needs values beyond it."""
    found = _compare(_run(1, rate=3), _run(2, rate=3))
    assert _verdicts(found)["p99"] == "unfit"
    assert "500 successes" in found.timers[0].statistics[2].reason
    assert _compare(_run(1, seconds=4), _run(2, seconds=4)).verdict == "unfit"


def test_runs_of_other_plans_are_not_compared() -> None:
    """The reason is the first difference that matters."""
    found = _compare(_run(1), _run(2, factor=2), "rate of turret t is 10 in one and 20 in the other")
    assert (found.verdict, found.reason) == ("incomparable", "rate of turret t is 10 in one and 20 in the other")


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        ({"rate": 20}, "model of turret t is closed in one and open in the other"),
        ({"cannons": 9}, "cannons of turret t is 5 in one and 9 in the other"),
        ({"url": "http://other"}, "url of turret t is http://one in one and http://other in the other"),
        ({"name": "u"}, "their turrets differ: t and u"),
        ({"hq_rc": 5001}, ""),
        ({"extra": {"host": "http://x"}}, "host of turret t is not set in one and http://x in the other"),
        ({"total": 5}, "model of turret t is closed in one and open in the other"),
    ],
)
def test_plans_differ_by_what_the_turrets_do(changed: dict[str, Any], reason: str) -> None:
    """Ports of the headquarters are no part of the plan."""
    turret = {"name": "t", "cannons": 5, "url": "http://one"}
    extra, total = changed.get("extra", {}), changed.get("total")
    own = {key: value for key, value in changed.items() if key not in ("extra", "total")}
    first = {"turrets": [turret]}
    second = {"turrets": [turret | own], "extra_turret_config": extra, "total_rate": total}
    assert difference_of(plan(first), plan(second)) == reason


def test_old_and_new_spelling_of_cannons_are_the_same_plan() -> None:
    """`canons` is the spelling of OCT."""
    first, second = ({"turrets": [{"name": "t", key: 5}]} for key in ("canons", "cannons"))
    assert difference_of(plan(first), plan(second)) == ""


def test_the_begin_is_left_out() -> None:
    """Seconds before `skip` are in no batch."""
    samples = [LoadSample(BEGIN + second, 0.1 if second >= 20 else 0.9, "page") for second in range(60)]
    batched = BatchedRun(60.0, ["page"], skip=20)
    batched.add(slices(samples, SampleSummary([LoadSample(BEGIN, 0.0, "page"), *samples])))
    assert sum(batch.count for batch in batched.timers["page"]) == 40
    assert max(batch.ok.maximum for batch in batched.timers["page"]) == 0.1


def test_rare_timers_are_left_out() -> None:
    """The transactions themselves always stay."""
    counts = {"": 1, **{f"t{number:03}": number + 1 for number in range(150)}}
    names, left_out = common_timers(counts, counts | {"more": 5})
    assert (names[0], len(names), left_out) == ("", MOST_TIMERS, 51)
    assert "t000" not in names


def test_differences_that_do_not_forbid_a_comparison_are_told() -> None:
    """Durations, a run that did not finish, and the turrets that took part."""
    runs = [_row("a"), msgspec.structs.replace(_row("b"), state="stopped", reason="stopped by request")]
    one = msgspec.structs.replace(FINE, cannons=5)
    assert notes_of(runs[:1] * 2, [10.0, 10.5], [[one], [one]]) == []
    assert notes_of(runs, [10.0, 20.0], [[one], [one, one]]) == [
        "Their durations differ: A fired for 10 s, B for 20 s.",
        "B is stopped: stopped by request.",
        "Their turrets differ: A had 1 with 5 cannons, B had 2 with 10.",
    ]


def test_too_short_runs_say_how_many_seconds_are_needed() -> None:
    """Not the values of a percentile, which are told only where there are seconds enough."""
    assert _compare(_run(1, seconds=30), _run(2, seconds=4)).reason == (
        "4 whole seconds of B are to be compared, and 8 are needed"
    )
    assert _compare(_run(1), _run(2, factor=2)).reason.startswith("p50 of All transactions, p95 of ")
