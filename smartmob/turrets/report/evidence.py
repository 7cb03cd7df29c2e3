"""The evidence behind the statistics of a run, as doubts and facts: its model, plan, sample size and errors. No I/O."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import msgspec

from smartmob import duration_text
from smartmob.counts import counted
from smartmob.turrets.model import ALL_TRANSACTIONS, Doubt, LoadPlan, Member, TimerStats
from smartmob.turrets.names import FURTHER_TIMERS

FAILING, MOSTLY_FAILING = 0.01, 0.5
"""Shares of failed transactions from which there is a warning, and from which the run is not trusted."""
FEW_ABOVE = 10
"""A percentile with fewer values above it is marked: by chance, their number varies by more than a third."""
FEW_TRANSACTIONS = 100
"""With fewer transactions, the p99 is the longest one."""
BEHIND, FAR_BEHIND = 0.98, 0.9
"""Shares of the planned transactions below which there is a warning, and below which the run is not trusted."""
_SHOWN = (99.0, 99.9, 99.99)  # percentiles
_MOST_NAMES = 3  # timers that a doubt names


class RunEvidence(msgspec.Struct, frozen=True):
    """The facts of a run that are not in its statistics; `duration` and `warm_up` are in seconds."""

    ended: bool
    plan: LoadPlan
    duration: float
    warm_up: float = 0.0
    imported: bool = False


def values_above(count: int, percentile: float) -> int:
    """Return how many of `count` values lie above a percentile."""
    return int(count * (100 - percentile) / 100 + 1e-9)


def doubts(timers: Mapping[str, TimerStats], evidence: RunEvidence) -> Iterator[Doubt]:
    """Yield the doubts about the statistics of a run."""
    own = timers[ALL_TRANSACTIONS]
    yield from _of_errors(timers)
    if own.mixed and not evidence.imported:
        yield Doubt(
            "warning",
            f"The durations contain those of {_number(own.mixed, 'failure')}: turrets or a service of an earlier "
            "version did not keep them apart.",
        )
    if own.count and evidence.ended:
        yield from _of_plan(own.count, evidence)
        if 0 < own.samples < FEW_TRANSACTIONS:
            yield Doubt(
                "warning",
                f"There {_is(own.samples, 'successful transaction')}, too few for a p99: below {FEW_TRANSACTIONS}, it "
                "is the longest one.",
            )
    if FURTHER_TIMERS in timers:
        number = timers[FURTHER_TIMERS].count
        are = "is" if number == 1 else "are"
        yield Doubt(
            "warning",
            f"The script used more timer names than can be kept: {counted(number, 'value')} {are} counted together "
            f"under {FURTHER_TIMERS}. Keep ids out of timer names.",
        )


def facts(timers: Mapping[str, TimerStats], members: Sequence[Member], evidence: RunEvidence) -> list[str]:
    """Return sentences about the data of a run that hold with or without doubts."""
    own = timers[ALL_TRANSACTIONS]
    model = "imported" if evidence.imported and evidence.plan.model == "closed" else evidence.plan.model
    found = [_MODEL[model]] if model in _MODEL else []
    seconds = max(evidence.duration - evidence.warm_up, 0.0)
    after = f", after {evidence.warm_up:g} s of warm-up" if evidence.warm_up else ""
    above = ", ".join(f"{values_above(own.samples, share):,} above p{share:g}" for share in _SHOWN)
    sample = f"{_number(own.count, 'transaction')} in {_digits(seconds, 3)} s{after}"
    found.append(f"Sample: {sample}; of the successful ones, {above}.")
    if (planned := planned_count(evidence)) and seconds:
        done = own.count / planned
        rates = f"{_digits(planned / seconds, 4)}/s planned, {_digits(own.rate, 4)}/s achieved"
        found.append(f"Rate: {rates} ({done:.1%}).")
    if own.count:
        failed = own.errors / own.count
        of = "; durations are of the successful ones" if own.errors and not own.mixed else ""
        found.append(f"Errors: {own.errors:,} failed ({failed:.2%}), {own.count - own.errors:,} OK{of}.")
    if evidence.imported:
        return found
    found.append(f"Turrets: {len(members):,} took part, {_lost(members, ended=evidence.ended)}.")
    if ours := [member for member in members if member.ours]:
        busiest, lag = max(member.busiest for member in ours), duration_text.seconds(max(member.lag for member in ours))
        found.append(f"Generator: its busiest process used {busiest:.0%} of a core, its longest lag was {lag}.")
    return found


def _lost(members: Sequence[Member], *, ended: bool) -> str:
    """Return the number of silent turrets in words: those that came back, and those that are still missing."""
    lost = [member for member in members if member.lost]
    gone = sum(1 for member in lost if member.lost[-1].until is None)
    parts = [(gone, "lost for good" if ended else "lost now"), (len(lost) - gone, "lost for a time")]
    said = [f"{count:,} of them {how}" for count, how in parts if count]
    return " and ".join(said) or "none was lost"


def _digits(value: float, digits: int) -> str:
    """Return a number with at least `digits` digits, and never as a power of ten: `.3g` writes 14,401 as 1.44e+04."""
    return f"{value:,.0f}" if value >= 10 ** (digits - 1) else f"{value:.{digits}g}"


_MODEL = {
    "imported": "Closed model: while the target stalls, users wait and send fewer requests, so stalls are "
    "under-represented (coordinated omission).",
    "open": "Open model: durations count from the planned start, so they include the wait while the target stalls.",
    "closed": "Closed model: while the target stalls, cannons wait and send fewer requests, so stalls are "
    "under-represented (coordinated omission). Set a rate for the turret (open model) to see them.",
    "mixed": "Both models: while the target stalls, turrets without a rate send fewer requests, so stalls are "
    "under-represented (coordinated omission).",
}


def planned_count(evidence: RunEvidence) -> float:
    """Return how many transactions the plan has after the warm-up and until the end of firing; 0 without a rate.

    Plans of turrets without a rate have no number, so that of a run with both models is 0, too.
    """
    if evidence.plan.model != "open":
        return 0.0
    begin, end = evidence.warm_up, evidence.duration
    total = 0.0
    for (at, first), (until, last) in pairwise(evidence.plan.rates):
        low, high = max(at, begin), min(until, end)
        if low < high:
            slope = (last - first) / (until - at)
            total += (high - low) * (first + slope * ((low + high) / 2 - at))
    return total


def _of_plan(count: int, evidence: RunEvidence) -> Iterator[Doubt]:
    planned = planned_count(evidence)
    if planned < FEW_TRANSACTIONS or count >= planned * BEHIND:
        return
    text = (
        f"The planned rate was not reached: {count:,} of {planned:,.0f} planned transactions completed "
        f"({count / planned:.1%})."
    )
    yield Doubt("bad" if count < planned * FAR_BEHIND else "warning", text)


def _of_errors(timers: Mapping[str, TimerStats]) -> Iterator[Doubt]:
    own = timers[ALL_TRANSACTIONS]
    share = own.errors / own.count if own.count else 0.0
    if share >= 1.0:
        all_of_them = "The only transaction" if own.count == 1 else f"All {own.count:,} transactions"
        yield Doubt("bad", f"{all_of_them} failed, so there are no durations of successful transactions.")
    elif share >= FAILING:
        failures = f"{share:.1%} of the transactions failed ({own.errors:,} of {own.count:,})"
        yield Doubt("bad" if share >= MOSTLY_FAILING else "warning", f"{failures}; durations are those of the others.")
    failed = [name for name, stats in timers.items() if name != ALL_TRANSACTIONS and 0 < stats.count <= stats.errors]
    if failed and share < 1.0:
        names = ", ".join(failed[:_MOST_NAMES])
        further = f" and {len(failed) - _MOST_NAMES:,} more" if len(failed) > _MOST_NAMES else ""
        yield Doubt("bad", f"Every measurement of {names}{further} failed.")


def _is(number: int, noun: str) -> str:
    return f"is only {_number(number, noun)}" if number == 1 else f"are only {_number(number, noun)}"


def _number(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
