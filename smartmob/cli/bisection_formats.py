"""The report of a bisection as a document of JSON, and in sentences."""

from __future__ import annotations

from typing import Any

import msgspec

from smartmob.cli import printing
from smartmob.counts import counted
from smartmob.experiments.bisection_report import BisectionReport, BisectionStep, Candidate
from smartmob.experiments.commit_search import CommitSearch

_SHOWN_CANDIDATES_COUNT = 20


def document(report: BisectionReport) -> dict[str, Any]:
    """Return the report as a document of JSON."""
    found: dict[str, Any] = msgspec.to_builtins(report)
    return found


def step_line(number: int, step: BisectionStep, search: CommitSearch) -> str:
    """Return a line on a measurement: the answer, what was measured, and how many commits are left."""
    parts = [f"{number}. {step.commit[:10]}: {step.answer}"]
    if step.ratio is not None:
        parts.append(_measured(step))
    if step.reason:
        parts.append(step.reason.splitlines()[0])
    left = len(search.likely())
    return f"{', '.join(parts)}; {counted(left, 'commit')} left"


def lines(report: BisectionReport) -> list[str]:
    """Return the result in sentences, the most important one first."""
    said = [_headline(report), *_candidates(report)]
    ends = next((step for step in report.steps if step.commit == report.bad), None)
    if ends is not None and ends.ratio is not None:
        said.append(f"From {report.good[:10]} to {report.bad[:10]}: {_measured(ends)}.")
    skipped = sum(step.answer == "skipped" for step in report.steps)
    how = f"{counted(len(report.steps), 'measurement')} in {printing.span(report.seconds)}; {report.ended}"
    said.append(how + (f"; {counted(skipped, 'commit')} could not be measured" if skipped else "") + ".")
    if report.contradictions:
        contradict, was = ("contradicts", "it was") if report.contradictions == 1 else ("contradict", "they were")
        said.append(
            f"{counted(report.contradictions, 'measurement')} {contradict} the result: either {was} wrong, or the test "
            "changed more than once."
        )
    return [*said, *report.notes]


def _candidates(report: BisectionReport) -> list[str]:
    """Return the lines of the candidates; one that was found is in the headline."""
    if report.verdict not in ("several", "interrupted"):
        return []
    more = len(report.candidates) - _SHOWN_CANDIDATES_COUNT
    shown = [_candidate(each) for each in report.candidates[:_SHOWN_CANDIDATES_COUNT]]
    return [*shown, f"  and {more} more"] if more > 0 else shown


def _headline(report: BisectionReport) -> str:
    test = f" {report.test}" if report.test else " the test"
    if report.verdict == "found":
        [found] = report.candidates
        return (
            f"{found.commit} made{test} {report.direction} (confidence {_percent(report.confidence)}): "
            f"{found.subject} ({found.author}, {found.time})"
        )
    if report.verdict == "several":
        return f"One of these made{test} {report.direction} (confidence {_percent(report.confidence)}):"
    if report.verdict == "interrupted" and report.direction:
        shown = counted(len(report.candidates), "commit")
        return f"One of {shown} made{test} {report.direction} (confidence {_percent(report.confidence)}):"
    return _nothing_found(report, test)


def _nothing_found(report: BisectionReport, test: str) -> str:
    return {
        "same": f"Good and bad do not differ in{test}.",
        "undecided": f"It is undecided whether good and bad differ in{test}: raise --max-time.",
        "only in good": f"The change of{test} is not in the history of bad: {report.ended}.",
        "not found": f"No commit is {report.direction} than good: the difference of the ends was a false alarm.",
    }.get(report.verdict, "Nothing is known yet.")


def _candidate(candidate: Candidate) -> str:
    return f"  {candidate.short}  {_percent(candidate.probability)}  {candidate.subject} ({candidate.author})"


def _percent(share: float) -> str:
    """Return a share, which is never shown as certain."""
    return f"{min(share, 0.999):.1%}"


def _measured(step: BisectionStep) -> str:
    assert step.ratio is not None
    if step.witness == "instructions":
        return f"{step.ratio - 1:+.1%} instructions"
    bounds = f" ({step.low:.2f} to {step.high:.2f})" if step.low is not None and step.high is not None else ""
    return f"time x {step.ratio:.2f}{bounds}"
