"""The evaluation of a step of a capacity search: whether the conditions held, and otherwise why not. No I/O.

A generator at its limit can only make latencies longer, since they count from the intended start. So a step whose
conditions held counts if all of its load was fired. A step whose conditions did not hold counts only if the generator
itself had no problem.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

import msgspec

from smartmob.counts import counted
from smartmob.kernel.runtime.host_names import is_same_host
from smartmob.turrets.capacity.model import SearchStep
from smartmob.turrets.model import ALL_TRANSACTIONS
from smartmob.turrets.report.trust import LONG_LAG, SATURATED_PERCENT, VERY_BUSY, VERY_LATE

TOLERANCE = 0.02
"""Share of the planned transactions that may be missing or too many."""
OWN_RESOURCES = frozenset(("EADDRNOTAVAIL", "EMFILE", "ENFILE", "ENOBUFS", "ENOMEM"))
"""Codes of errors of the generator's machine: no free local port, file descriptor, buffer or memory."""
MOST_REASONS = 20  # of a step


class StepCondition(Protocol):
    """A condition that has to hold."""

    @property
    def seconds(self) -> float | None:
        """Return the latency that it allows, or None if it is about another statistic."""

    @property
    def errors(self) -> bool:
        """Return whether it is about the errors of all transactions."""

    def breach(self, summary: Mapping[str, Any]) -> str | None:
        """Return in one line how a summary breaks the condition, or None if it holds."""


class StepLoad(msgspec.Struct, frozen=True):
    """The planned load of a step: `rate` transactions per second for `seconds`, the warm-up included."""

    rate: float
    seconds: float


def evaluate_step(
    summary: Mapping[str, Any], fired: StepLoad, conditions: Sequence[StepCondition], target_host: str | None = None
) -> SearchStep:
    """Return the evaluation of a step from the summary of its run."""
    broken = [(condition, text) for condition in conditions if (text := condition.breach(summary)) is not None]
    lost, slow = list(_lost_load(summary, fired)), list(_slowness(summary))
    waiting = _waiting_for_cannons(summary)
    reasons = [text for _, text in broken]
    if lost:
        outcome, reasons = "saturated", lost + slow + waiting + reasons
    elif not broken and not _never_started(summary):
        outcome, reasons = "held", []
    elif any(condition.errors for condition, _ in broken) and _of_target(summary, conditions):
        outcome = "broken"
    elif slow:
        outcome, reasons = "saturated", slow + waiting + reasons
    elif waiting and not _slower_than_allowed(summary, fired, broken):
        outcome, reasons = "saturated", waiting + reasons
    else:
        outcome = "broken"
    return _step(summary, fired, outcome, reasons, target_host)


def _step(
    summary: Mapping[str, Any], fired: StepLoad, outcome: Any, reasons: Sequence[str], target_host: str | None
) -> SearchStep:
    whole = summary["timers"].get(ALL_TRANSACTIONS) or {"percentiles": {}}
    count = summary["transactions"]
    return SearchStep(
        run=summary["id"],
        rate=fired.rate,
        achieved=_started(summary) / fired.seconds,
        outcome=outcome,
        reasons=[text[:1_000] for text in reasons[:MOST_REASONS]],
        p50=whole["percentiles"].get("50"),
        p95=whole["percentiles"].get("95"),
        p99=whole["percentiles"].get("99"),
        errors=summary["errors"] / count if count else 0.0,
        transactions=count,
        target_cpu=_cpu(summary, target_host),
    )


def _cpu(summary: Mapping[str, Any], target_host: str | None) -> float | None:
    loads = (load for load in summary.get("machines", ()) if target_host and is_same_host(load["host"], target_host))
    return next((min(max(float(load["cpu_avg"]), 0.0), 100.0) for load in loads), None)


def _reports(summary: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [member["report"] for member in summary["turrets"] if member["report"] is not None]


def _started(summary: Mapping[str, Any]) -> int:
    """Return how many transactions were started in the run, those of the warm-up included."""
    return sum(report["transactions"] for report in _reports(summary))


def _never_started(summary: Mapping[str, Any]) -> int:
    return sum(report["never_started"] for report in _reports(summary))


def _lost_load(summary: Mapping[str, Any], fired: StepLoad) -> Iterator[str]:
    """Yield the reasons why the load of a step was not the planned one."""
    if summary["state"] != "finished":
        yield f"the run is {summary['state']}" + (f": {summary['reason']}" if summary["reason"] else "")
    for member in summary["turrets"]:
        report = member["report"]
        if not member["ours"]:
            yield f"turret {member['name']} is one of OCT, which takes no rate"
        if member["lost"] or not member["alive"] or member["status"].strip().lower() in ("aborted", "killed"):
            yield f"turret {member['name']} was lost"
        elif report is not None and report["dropped"]:
            yield f"turret {member['name']} had to drop {counted(report['dropped'], 'result')}"
        elif report is not None and report["paused"]:
            yield f"turret {member['name']} had to pause for {report['paused']:.3g} s: its results were not stored"
    started, planned = _started(summary) + _never_started(summary), fired.rate * fired.seconds
    # Each turret rounds its share of the transactions.
    if abs(started - planned) > planned * TOLERANCE + len(summary["turrets"]) + 1:
        yield f"{started / fired.seconds:,.1f}/s were fired instead of {fired.rate:,.1f}/s"
    own = sum(error["count"] for error in summary["error_texts"] if error["code"] in OWN_RESOURCES)
    if own > 0:
        codes = sorted({error["code"] for error in summary["error_texts"]} & OWN_RESOURCES)
        yield f"the generator's machine ran out of resources: {counted(own, 'time')} {', '.join(codes)}"


def _slowness(summary: Mapping[str, Any]) -> Iterator[str]:
    """Yield the reasons that slowed the generator itself down."""
    for member in summary["turrets"]:
        if member["busiest"] >= VERY_BUSY:
            yield f"turret {member['name']} used {member['busiest']:.0%} of a core: give it more processes or turrets"
        if member["lag"] >= LONG_LAG:
            yield f"the event loop of turret {member['name']} was blocked for up to {member['lag']:.3g} s"
    for load in summary.get("machines", ()):
        if load["fired"] and load["cpu_avg"] > SATURATED_PERCENT:
            yield f"the processors of {load['host']}, from which a turret fires, were {load['cpu_avg']:.0f}% busy"


def _waiting_for_cannons(summary: Mapping[str, Any]) -> list[str]:
    """Return why transactions had to wait for a cannon of the generator, in at most one line."""
    never, late = _never_started(summary), sum(report["late_starts"] for report in _reports(summary))
    if not never and late < max(VERY_LATE * _started(summary), 1):
        return []
    cannons = _cannons(summary)
    waited, cannon = (
        counted(late + never, "transaction"),
        "the one cannon" if cannons == 1 else f"one of {cannons:,} cannons",
    )
    return [f"{waited} had to wait for {cannon}: give turrets more cannons"]


def _cannons(summary: Mapping[str, Any]) -> int:
    return sum(member["cannons"] or 0 for member in summary["turrets"])


def _slower_than_allowed(
    summary: Mapping[str, Any], fired: StepLoad, broken: Sequence[tuple[StepCondition, str]]
) -> bool:
    """Return whether the target itself was slower than a broken condition allows, although cannons were missing.

    By Little's law (J. D. C. Little, Operations Research 9, 1961), if all C cannons are busy and fewer than R
    transactions per second can start, one takes longer than C / R on average.
    """
    allowed = [condition.seconds for condition, _ in broken if condition.seconds is not None]
    return bool(allowed) and _cannons(summary) / fired.rate >= min(allowed)


def _of_target(summary: Mapping[str, Any], conditions: Sequence[StepCondition]) -> bool:
    """Return whether errors with a status of the target are enough to break a condition on errors."""
    answered = sum(error["count"] for error in summary["error_texts"] if _is_status(error["code"]))
    timers = summary["timers"]
    whole = timers[ALL_TRANSACTIONS] | {"errors": answered}
    only = {**summary, "timers": {**timers, ALL_TRANSACTIONS: whole}}
    return any(condition.errors and condition.breach(only) is not None for condition in conditions)


def _is_status(code: str) -> bool:
    return code.isdigit() and 400 <= int(code) <= 599


def cannons_needed(rate: float, seconds: float) -> int:
    """Return the number of cannons that a rate needs if each transaction takes `seconds`, by Little's law."""
    return math.ceil(rate * seconds)
