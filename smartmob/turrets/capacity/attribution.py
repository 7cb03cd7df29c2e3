"""The result of a capacity search in words: the rate, its confidence, and the cause of the limit. No I/O."""

from __future__ import annotations

from collections.abc import Sequence

from smartmob.counts import counted
from smartmob.turrets.capacity.model import SearchResult, SearchSettings, SearchStep
from smartmob.turrets.capacity.search import SearchOutcome

BUSY_PERCENT = 85.0
"""The average use of the processors of the target's machine from which they count as the limit.

Waiting grows without bound as the use nears 100 %: in the M/M/1 queue, a request takes 6.7 times its service time at
85 %.
"""


def result_of(
    finding: SearchOutcome, settings: SearchSettings, steps: Sequence[SearchStep], reason: str = ""
) -> SearchResult:
    """Return the result for the finding of a search; `reason` says why it ended early."""
    limit = _limit(finding, settings, steps)
    words = _words(finding, settings, reason)
    return SearchResult(
        ending=finding.ending,
        held=finding.held,
        refused=finding.refused,
        holds=finding.holds,
        steps=finding.steps,
        confidence=finding.confidence,
        limit=limit[:1_000],
        words=words[:1_000],
    )


def shown(rate: float) -> str:
    """Return a rate with its unit."""
    return f"{rate:,.4g}/s" if rate < 10_000 else f"{rate:,.0f}/s"


def _none_held(finding: SearchOutcome, conditions: str, lowest: str) -> str:
    if finding.ending == "not met":
        return f"the lowest rate, {lowest}, did not meet {conditions}"
    if finding.ending == "generator":
        return f"the generator could not fire the lowest rate, {lowest}"
    return f"no rate met {conditions}"


def _words(finding: SearchOutcome, settings: SearchSettings, reason: str) -> str:
    conditions = ", ".join(settings.conditions)
    if finding.held is None:
        words = _none_held(finding, conditions, shown(settings.start_rate))
        return f"{words}: {reason}" if reason else words
    held = f"{shown(finding.held)} met {conditions}"
    if finding.confidence is not None:
        low, high = finding.confidence
        steps = counted(finding.steps, "step")
        held += f" in {finding.holds} of {steps} (95% confidence interval of that share: {low:.0%} to {high:.0%})"
    if finding.ending == "bound":
        return f"at least {held}, the highest rate to be tried"
    if finding.refused is not None:
        verdict = "the generator could not fire" if finding.limit == "saturated" else "the target did not sustain"
        held += f"; {verdict} {shown(finding.refused)}"
    if finding.ending == "generator":
        return f"the generator is the limit: at least {held}"
    return f"{held}; the search ended early: {reason}" if finding.ending == "unfinished" else held


def _limit(finding: SearchOutcome, settings: SearchSettings, steps: Sequence[SearchStep]) -> str:
    """Return the cause of the limit."""
    if finding.ending == "bound":
        return "none: the bound of the search was reached"
    if finding.refused is None:
        return "unknown: no rate failed"
    last = [step for step in steps if step.rate == finding.refused and step.outcome == finding.limit]
    if finding.limit == "saturated":
        reasons = next((step.reasons for step in reversed(last) if step.reasons), ["its steps differ too much"])
        return f"the generator: {reasons[0]}"
    if settings.target_host is None:
        return "unknown, no machine named: give --target-host"
    used = [step.target_cpu for step in last if step.target_cpu is not None]
    if not used:
        return f"unknown: {settings.target_host} sent no sample during the steps"
    cpu = sum(used) / len(used)
    if cpu >= BUSY_PERCENT:
        return f"the processors of {settings.target_host}: {cpu:.0f}% busy at {shown(finding.refused)}"
    return (
        f"not the processors of {settings.target_host}, {cpu:.0f}% busy at {shown(finding.refused)}: "
        "look at its locks, pools and what it calls"
    )
