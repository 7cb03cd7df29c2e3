"""The words of reporters for the outcome of a test."""

from __future__ import annotations

import pytest

from smartmob.metrics.report_files.outcome_words import is_yes, outcome_of_word
from smartmob.metrics.report_files.report import CaseOutcome


@pytest.mark.parametrize(
    ("word", "outcome"),
    [
        ("run", CaseOutcome.PASSED),
        ("Completed", CaseOutcome.PASSED),
        ("PASSED", CaseOutcome.PASSED),
        ("fail", CaseOutcome.FAILED),
        ("Timed out", CaseOutcome.FAILED),
        ("broken", CaseOutcome.FAILED),
        ("Disabled", CaseOutcome.SKIPPED),
        ("NOT_RUN", CaseOutcome.SKIPPED),
        ("not-run", CaseOutcome.SKIPPED),
        ("suppressed", CaseOutcome.SKIPPED),
        ("Inconclusive", CaseOutcome.SKIPPED),
        ("purple", None),
        ("", None),
    ],
)
def test_a_word_tells_the_outcome(word: str, outcome: CaseOutcome | None) -> None:
    """Case and separators do not matter, and an unknown word has no outcome."""
    assert outcome_of_word(word) is outcome


@pytest.mark.parametrize(("word", "yes"), [("true", True), ("1", True), ("Yes", True), ("false", False), ("", False)])
def test_an_attribute_says_yes(word: str, yes: bool) -> None:
    """Anything else means no."""
    assert is_yes(word) is yes
