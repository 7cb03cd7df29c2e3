"""The words for the outcome of a test, in the attributes `status`, `result` and the like of many reporters."""

from __future__ import annotations

import re

from smartmob.metrics.report_files.report import CaseOutcome

_WORDS = {
    # GoogleTest: "run" and "completed"; NUnit 2: "executed"; Playwright: "expected"; Jenkins: "fixed".
    CaseOutcome.PASSED: (
        "passed pass ok success successful succeeded succeed run ran completed complete executed done finished true "
        "expected fixed flaky warning warnings passedwithwarnings good"
    ),
    # Allure: "broken"; MSTest: "aborted", "passedbutrunaborted"; Playwright: "unexpected"; pytest: "xpassed".
    CaseOutcome.FAILED: (
        "failed fail failing failure error errored broken crashed crash timeout timedout aborted abort cancelled "
        "canceled unexpected interrupted killed fatal bad false regression hookerror cleanuperror passedbutrunaborted "
        "disconnected failedknown xpass xpassed"
    ),
    # GoogleTest: "notrun", "suppressed"; CTest: "disabled"; Cucumber and behave: "undefined", "untested"; TAP: "todo".
    CaseOutcome.SKIPPED: (
        "skipped skip disabled suppressed notrun notexecuted pending ignored ignore inconclusive blocked todo xfail "
        "xfailed excluded filtered undefined untested notrunnable invalid explicit deselected omitted notapplicable "
        "inprogress notstarted norun notavailable"
    ),
}
_OUTCOMES = {word: outcome for outcome, words in _WORDS.items() for word in words.split()}
_SEPARATORS = re.compile(r"[\s_-]+")


def outcome_of_word(word: str) -> CaseOutcome | None:
    """Return the outcome that `word` means (any case, with or without separators); None if it is unknown."""
    return _OUTCOMES.get(_SEPARATORS.sub("", word).lower())


def is_yes(word: str) -> bool:
    """Return whether the value of an attribute such as `skipped` means yes."""
    return word.strip().lower() in ("true", "yes", "1")
