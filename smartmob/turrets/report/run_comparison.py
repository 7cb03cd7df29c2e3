"""The comparison of two load tests: a verdict for each timer from repeated spans of seconds. No I/O.

`batch_means` describes the method. Differences between whole runs (another day, another memory address) do not appear
in the spread within a run: a verdict says that these two runs differ, not why.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal

import msgspec

from smartmob import verdict_words
from smartmob.turrets.model import ALL_TRANSACTIONS, Member, Run
from smartmob.turrets.outcomes import Outcomes
from smartmob.turrets.protocol import Slice
from smartmob.turrets.report.batch_means import BATCHES, FEWEST_BATCHES, adjusted, compare
from smartmob.turrets.slices import TRANSACTION

MOST_TIMERS = 100
"""Timers of a comparison: those with the most values in both runs."""

LEAST_EFFECT = 0.05
"""Share by which a latency or a rate must differ, unless the request sets another share."""
_LEAST_ERRORS = 0.01
"""Difference of the shares of errors that counts: one percentage point."""
_FALSE_SHARE = 0.05
"""Share of the verdicts other than "same" that may be false, on average."""
_BEYOND = 5
"""Values of a batch that must lie beyond a percentile of it."""
_UNEQUAL = 0.1
"""Share by which the durations of two runs may differ without a note."""
_LATENCIES = {"p50": 50.0, "p95": 95.0, "p99": 99.0}

StatisticVerdict = Literal["slower", "faster", "more", "fewer", "same", "unfit"]
Worst = Literal["slower", "more errors", "lower rate", "faster", "same", "unfit", "incomparable"]


class ComparedStatistic(msgspec.Struct, frozen=True, kw_only=True):
    """A statistic of a timer in both runs: the values of the whole runs, and the change between their batches.

    `change` is a share of the first value for latencies and rates, and a difference for shares of errors, with its 95 %
    interval from `low` to `high`. `p` is adjusted for all statistics of the comparison. `reason` says why it cannot be
    judged. `word` is the verdict as people read it.
    """

    statistic: str = msgspec.field(name="figure")
    first: float | None
    second: float | None
    verdict: StatisticVerdict
    change: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    batches: int = 0
    reason: str = ""
    word: str = ""


class ComparedTimer(msgspec.Struct, frozen=True, kw_only=True):
    """A timer in both runs."""

    timer: str
    statistics: list[ComparedStatistic] = msgspec.field(name="figures")


class RunComparison(msgspec.Struct, frozen=True, kw_only=True):
    """Two runs side by side. `reason` says why they cannot be compared, or the basis of the verdict; `word` is the
    verdict as people read it.

    `only_first` and `only_second` are timers of one run; `left_out` counts timers beyond the limit of a comparison.
    `notes` are sentences about further differences of the runs, which do not forbid the comparison.
    """

    first: Run
    second: Run
    verdict: Worst
    reason: str
    timers: list[ComparedTimer]
    only_first: list[str] = []
    only_second: list[str] = []
    left_out: int = 0
    notes: list[str] = []
    word: str = ""


class BatchedRun:
    """The values of some timers of a run in batches of seconds of equal length.

    The first `skip` seconds are left out, as is the last second, which the run does not fill.
    """

    def __init__(self, duration: float, timers: Iterable[str], skip: float = 0.0) -> None:
        self.first_second = math.ceil(skip)
        self.seconds = max(int(duration) - self.first_second, 0)
        self.length = self.seconds // BATCHES if self.seconds >= BATCHES else 1
        count = min(self.seconds // self.length, BATCHES) if self.seconds else 0
        # Seconds that do not fill a batch are left out at the beginning, where the load is ramped up.
        self.first_second += self.seconds - count * self.length
        self.timers = {name: [Outcomes() for _ in range(count)] for name in timers}

    def add(self, parts: Iterable[Slice]) -> None:
        """Add slices. Raises InvalidInput if a histogram cannot be read."""
        for part in parts:
            batches = self.timers.get(part.timer)
            index = (part.second - self.first_second) // self.length
            if batches is not None and part.second >= self.first_second and index < len(batches):
                batches[index].merge(part)


def plan(config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what two runs must have in common: of each turret its model, rate or cannons, ramp, script and target.

    `extra_turret_config` is part of each turret, which may have keys of its own instead.
    """
    found: dict[str, Any] = {}
    shared = config.get("extra_turret_config")
    shared = shared if isinstance(shared, Mapping) else {}
    for turret in config.get("turrets") or ():
        if isinstance(turret, Mapping):
            own = {key: value for key, value in {**shared, **turret}.items() if key not in _NO_PLAN}
            own["cannons"] = turret.get("cannons", turret.get("canons"))
            if config.get("total_rate") is not None:
                own["rate"] = f"a share of {config['total_rate']}"
            own["model"] = "closed" if own.get("rate") is None else "open"
            found[str(turret.get("name"))] = own
    return found


_NO_PLAN = frozenset({"name", "canons", "hq_address", "hq_publisher", "hq_rc", "patience", "grace"})


def difference_of(first: Mapping[str, Any], second: Mapping[str, Any]) -> str:
    """Return the first reason why two plans cannot be compared, or ""."""
    if first.keys() != second.keys():
        return f"their turrets differ: {', '.join(sorted(first)) or 'none'} and {', '.join(sorted(second)) or 'none'}"
    for name in sorted(first):
        one, two = first[name], second[name]
        for key in sorted(one.keys() | two.keys(), key=lambda key: (key != "model", key != "rate", key)):
            if one.get(key) != two.get(key):
                return (
                    f"{key} of turret {name} is {_short(one.get(key))} in one and {_short(two.get(key))} in the other"
                )
    return ""


def notes_of(
    runs: Sequence[Run], seconds: Sequence[float], members: Sequence[Sequence[Member]], letters: str = "AB"
) -> list[str]:
    """Return sentences on how two runs, called `letters`, differ in their duration, their end and their turrets."""
    notes = []
    one, other = letters[0], letters[1]
    if abs(seconds[0] - seconds[1]) > _UNEQUAL * max(*seconds, 1e-9):
        notes.append(f"Their durations differ: {one} fired for {seconds[0]:,.4g} s, {other} for {seconds[1]:,.4g} s.")
    for name, run in zip(letters, runs, strict=True):
        if run.state != "finished":
            notes.append(f"{name} is {run.state}" + (f": {run.reason}." if run.reason else "."))
    if any(run.source is not None for run in runs):
        return notes
    fired = [(len(found), sum(member.cannons or 0 for member in found)) for found in members]
    if fired[0] != fired[1]:
        turrets, cannons = zip(*fired, strict=True)
        notes.append(
            f"Their turrets differ: {one} had {turrets[0]} with {cannons[0]:,} cannons, "
            f"{other} had {turrets[1]} with {cannons[1]:,}."
        )
    return notes


def compared(
    runs: tuple[Run, Run],
    batched: tuple[BatchedRun, BatchedRun],
    reason: str,
    least_effect: float = LEAST_EFFECT,
    letters: str = "AB",
) -> RunComparison:
    """Return the comparison of two runs, called `letters`; `reason` says why they cannot be compared, or is ""."""
    first, second = batched
    both = [name for name in first.timers if name in second.timers]
    rows = [(name, row) for name in both for row in _statistics(first, second, name)]
    fit = [index for index, (_, row) in enumerate(rows) if row.p is not None]
    for index, p in zip(fit, adjusted([rows[index][1].p or 0.0 for index in fit]), strict=True):
        name, row = rows[index]
        rows[index] = name, msgspec.structs.replace(row, p=p, verdict=_judged(row, p, least_effect))
    timers = [
        ComparedTimer(timer=name or ALL_TRANSACTIONS, statistics=[_worded(row) for own, row in rows if own == name])
        for name in both
    ]
    worst, why = _worst(timers)
    if worst == "unfit":
        why = _too_short(batched, letters) or why
    verdict: Worst = "incomparable" if reason else worst
    return RunComparison(
        first=runs[0],
        second=runs[1],
        verdict=verdict,
        reason=reason or why,
        timers=timers,
        word=verdict_words.word(verdict),
    )


def _worded(row: ComparedStatistic) -> ComparedStatistic:
    return msgspec.structs.replace(row, word=verdict_words.word(row.verdict))


def _statistics(first: BatchedRun, second: BatchedRun, name: str) -> list[ComparedStatistic]:
    """Return the statistics of a timer, not judged yet."""
    found = []
    one, two = first.timers[name], second.timers[name]
    for statistic, share in _LATENCIES.items():
        wholes = [_percentile(_merged(batches), share) for batches in (one, two)]
        series = [_latencies(batches, share) for batches in (one, two)]
        need = f"a span of each run needs {math.ceil(_BEYOND / (1 - share / 100)):,} successes"
        found.append(_compared(statistic, wholes, series, need, as_ratio=True))
    rates = [[batch.count / run.length for batch in run.timers[name]] for run in (first, second)]
    found.append(_compared("rate", [_mean(each) for each in rates], rates, "", as_ratio=True))
    shares = [[batch.errors / batch.count for batch in batches if batch.count] for batches in (one, two)]
    wholes = [_share(batches) for batches in (one, two)]
    found.append(_compared("errors", wholes, shares, "", as_ratio=False))
    return found


def _compared(
    statistic: str, wholes: Sequence[float | None], series: Sequence[Sequence[float]], need: str, *, as_ratio: bool
) -> ComparedStatistic:
    first, second = series
    batches = min(len(first), len(second))
    if batches < FEWEST_BATCHES:
        reason = f"too few values in each of {FEWEST_BATCHES} spans of seconds" + (f": {need}" if need else "")
        return ComparedStatistic(statistic=statistic, first=wholes[0], second=wholes[1], verdict="unfit", reason=reason)
    if as_ratio:
        if min(*first, *second) <= 0:
            return ComparedStatistic(
                statistic=statistic,
                first=wholes[0],
                second=wholes[1],
                verdict="unfit",
                reason="some spans have no value",
            )
        found = compare([math.log(value) for value in first], [math.log(value) for value in second])
        change, low, high = (math.expm1(value) for value in (found.value, found.low, found.high))
    else:
        found = compare(first, second)
        change, low, high = found.value, found.low, found.high
    return ComparedStatistic(
        statistic=statistic,
        first=wholes[0],
        second=wholes[1],
        verdict="same",
        change=change,
        low=low,
        high=high,
        p=found.p,
        batches=batches,
    )


def _judged(row: ComparedStatistic, p: float, least_effect: float) -> StatisticVerdict:
    change = row.change or 0.0
    least = _LEAST_ERRORS if row.statistic == "errors" else least_effect
    # A decrease by the share x is undone by an increase of more than x, so both directions are judged as ratios.
    size = abs(change) if row.statistic == "errors" else math.expm1(abs(math.log1p(change)))
    if p > _FALSE_SHARE or size < least:
        return "same"
    if row.statistic in ("errors", "rate"):
        return "more" if change > 0 else "fewer"
    return "slower" if change > 0 else "faster"


_VERDICTS: tuple[tuple[Worst, str, tuple[str, ...]], ...] = (
    ("slower", "slower", ("p50", "p95", "p99")),
    ("more errors", "more", ("errors",)),
    ("lower rate", "fewer", ("rate",)),
    ("faster", "faster", ("p50", "p95", "p99")),
)
"""The verdicts on all timers, the worst one first, each with the verdict on a timer and its statistics."""


def _worst(timers: Sequence[ComparedTimer]) -> tuple[Worst, str]:
    """Return the verdict on all timers, with its reason."""
    rows = [(timer.timer, row) for timer in timers for row in timer.statistics]
    for verdict, own_verdict, statistics in _VERDICTS:
        found = [
            f"{row.statistic} of {timer}"
            for timer, row in rows
            if row.statistic in statistics and row.verdict == own_verdict
        ]
        if found:
            more = f" and {len(found) - 3} more" if len(found) > 3 else ""
            return verdict, f"{', '.join(found[:3])}{more}"
    if not any(row.verdict == "same" for _, row in rows if row.statistic in _LATENCIES):
        return "unfit", next((row.reason for _, row in rows if row.reason), "the runs have no timer in common")
    return "same", "no difference beyond the variation within the runs"


def _too_short(runs: Sequence[BatchedRun], letters: str) -> str:
    """Return which run has too few seconds for a verdict, or ""."""
    for name, run in zip(letters, runs, strict=True):
        if run.seconds < FEWEST_BATCHES:
            return f"{run.seconds} whole seconds of {name} are to be compared, and {FEWEST_BATCHES} are needed"
    return ""


def _latencies(batches: Sequence[Outcomes], share: float) -> list[float]:
    """Return a percentile of each batch; neighbouring batches are merged if they have too few values."""
    size = 1
    while len(batches) // size >= FEWEST_BATCHES:
        merged = [_merged(batches[start : start + size]) for start in range(0, len(batches) - size + 1, size)]
        if all(each.ok.count * (1 - share / 100) >= _BEYOND for each in merged):
            return [each.ok.percentiles([share])[share] for each in merged]
        size += 1
    return []


def _merged(batches: Iterable[Outcomes]) -> Outcomes:
    whole = Outcomes()
    for batch in batches:
        whole.absorb(batch)
    return whole


def _percentile(values: Outcomes, share: float) -> float | None:
    return values.ok.percentiles([share]).get(share)


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None


def _share(batches: Sequence[Outcomes]) -> float | None:
    count = sum(batch.count for batch in batches)
    return sum(batch.errors for batch in batches) / count if count else None


def common_timers(first: Mapping[str, int], second: Mapping[str, int]) -> tuple[list[str], int]:
    """Return the timers that two runs have in common, the transactions first, and how many are left out."""
    both = [name for name in first if name in second and name != TRANSACTION]
    both.sort(key=lambda name: (-min(first[name], second[name]), name))
    kept = both[: MOST_TIMERS - 1]
    whole = [TRANSACTION] if TRANSACTION in first and TRANSACTION in second else []
    return [*whole, *sorted(kept)], len(both) - len(kept)


def _short(value: object) -> str:
    return "not set" if value is None else str(value)[:100]
