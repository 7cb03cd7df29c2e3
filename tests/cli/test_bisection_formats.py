"""Results of bisections in sentences."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from smartmob.cli import bisection_formats
from smartmob.experiments.bisection_report import BisectionReport, BisectionStep, Candidate
from smartmob.experiments.commit_search import CommitSearch

_CHANGED = BisectionStep("b" * 40, "changed", "clock", 1.5, 1.4, 1.6, 12, 3.0)


def _report(**fields: Any) -> BisectionReport:
    candidate = Candidate("c" * 40, "ccccccc", "Me", "2026-01-01", "Sort twice", 0.9999)
    found: dict[str, Any] = {
        "verdict": "found", "direction": "slower", "test": "test_x", "good": "a" * 40, "bad": "b" * 40,
        "candidates": [candidate], "confidence": 0.9999, "commits": 5, "contradictions": 0, "steps": [_CHANGED],
        "seconds": 61.0, "ended": "the commit was found",
    }  # fmt: skip
    return BisectionReport(**found | fields)


def test_the_commit_comes_first() -> None:
    """With its subject, and a confidence that is never 100 %."""
    first, ends, last = bisection_formats.lines(_report())
    assert first == f"{'c' * 40} made test_x slower (confidence 99.9%): Sort twice (Me, 2026-01-01)"
    assert ends == "From aaaaaaaaaa to bbbbbbbbbb: time x 1.50 (1.40 to 1.60)."
    assert last.startswith("1 measurement in 1 min 1 s; the commit was found")


@pytest.mark.parametrize(
    ("verdict", "direction", "said"),
    [
        ("several", "slower", "One of these made test_x slower"),
        ("interrupted", "faster", "One of 1 commit made test_x faster"),
        ("interrupted", "", "Nothing is known yet."),
        ("same", "", "Good and bad do not differ in test_x."),
        ("undecided", "", "It is undecided whether good and bad differ in test_x: raise --max-time."),
        ("not found", "slower", "No commit is slower than good"),
        ("only in good", "slower", "The change of test_x is not in the history of bad"),
    ],
)
def test_each_end_has_a_sentence(verdict: str, direction: str, said: str) -> None:
    """It is the first line."""
    assert bisection_formats.lines(_report(verdict=verdict, direction=direction))[0].startswith(said)


def test_contradictions_and_skipped_commits_are_printed() -> None:
    """Answers that contradict the result, and commits that were skipped."""
    steps = [_CHANGED, BisectionStep("d" * 40, "skipped", reason="no build\nsecond line")]
    said = "\n".join(bisection_formats.lines(_report(steps=steps, contradictions=1)))
    assert "1 commit could not be measured" in said
    assert "1 measurement contradicts the result: either it was wrong, or the test changed more than once." in said


def test_a_step_is_a_line() -> None:
    """The answer, the measured ratio or the reason, and the commits that are left."""
    search = CommitSearch({"1": [], "2": ["1"]})
    assert bisection_formats.step_line(1, _CHANGED, search) == (
        "1. bbbbbbbbbb: changed, time x 1.50 (1.40 to 1.60); 2 commits left"
    )
    by_count = BisectionStep("d" * 40, "changed", "instructions", 1.021)
    assert "+2.1% instructions" in bisection_formats.step_line(2, by_count, search)
    skipped = BisectionStep("d" * 40, "skipped", reason="no build\nsecond line")
    assert bisection_formats.step_line(3, skipped, search).endswith("skipped, no build; 2 commits left")


def test_the_document_has_all_fields() -> None:
    """It can be read back."""
    report = _report()
    assert msgspec.convert(bisection_formats.document(report), BisectionReport) == report
