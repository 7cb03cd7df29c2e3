"""The wording of verdicts."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.metrics.model import Context
from smartmob.metrics.verdict import verdicts
from smartmob.metrics.verdict.change_detection import Change, DetectedChanges, Shift
from smartmob.metrics.verdict.verdicts import Environment, Verdict

NAME = ("tests/test_sum.py", "test_sum", "test_sum[1]", "function")
ENVIRONMENT = Environment("c", "rack7", "3.11", {NAME: "id"})
NOTHING = DetectedChanges(Shift(1.0, 1.02, 20), {}, {}, {})


def _change(direction: int = 1, confirmed: bool | None = True, **changes: Any) -> Change:
    values = {"base": 0.1, "head": 0.2, "level": 0.1, "corrected": 0.2, "noise": 0.02, "history": 10}
    return Change(direction, confirmed, **(values | changes))


def _verdict_on(change: Change, unfit: str | None = None, tests: int = 20) -> verdicts.ItemVerdict:
    found = DetectedChanges(Shift(1.0, 1.02, tests), {NAME: change}, {}, {})
    return verdicts.item_verdicts(found, ENVIRONMENT, unfit, "base")[0]


@pytest.mark.parametrize(
    ("direction", "confirmed", "verdict", "reason"),
    [
        (1, True, "regression", "in more than one session"),
        (1, None, "suspect", "the next session will tell"),
        (1, False, "noise", "not in the next session"),
        (0, None, "noise", "within what is usual"),
        (-1, True, "improvement", "in more than one session"),
        (-1, None, "noise", "the next session will tell"),
    ],
)
def test_a_verdict_follows_from_direction_and_confirmation(
    direction: int, confirmed: bool | None, verdict: Verdict, reason: str
) -> None:
    """Each combination has its verdict and reason."""
    found = _verdict_on(_change(direction, confirmed))
    assert (found.verdict, found.confidence, found.item_id) == (verdict, "normal", "id")
    assert reason in found.reason


def test_a_busy_machine_makes_a_test_unfit() -> None:
    """The reason of the machine replaces the verdict on the test."""
    found = _verdict_on(_change(), "the machine was busy")
    assert (found.verdict, found.reason, found.corrected_ratio) == ("unfit", "the machine was busy", 2.0)


def test_confidence_is_low_with_little_data() -> None:
    """A short history or few tests lower the confidence; without any noise a test is unfit."""
    assert "a history of 2" in _verdict_on(_change(history=2)).reason
    assert _verdict_on(_change(history=2)).confidence == "low"
    assert "too few tests" in _verdict_on(_change(), tests=3).reason
    assert _verdict_on(_change(noise=None)).verdict == "unfit"


def test_tests_of_one_side_are_new_or_gone() -> None:
    """The reason names the side that lacks the test."""
    new, gone = ("a", "new", "new", "function"), ("a", "gone", "gone", "function")
    found = DetectedChanges(NOTHING.shift, {}, {new: 1.0}, {gone: 2.0})
    rows = verdicts.item_verdicts(found, Environment("c", "", "", {new: "1", gone: "2"}), None, "history")
    assert [(row.verdict, row.base, row.head, row.reason) for row in rows] == [
        ("new", None, 1.0, "the history does not have it"),
        ("gone", 2.0, None, "the head does not have it"),
    ]


def test_verdicts_are_sorted_by_severity() -> None:
    """The worst verdict comes first, and among equal ones the largest change."""
    rows = [
        _verdict_on(_change(0, None)),
        _verdict_on(_change(head=0.2)),
        _verdict_on(_change(corrected=0.5)),
        _verdict_on(_change(1, None)),
    ]
    ordered = verdicts.by_severity(rows)
    assert [row.verdict for row in ordered] == ["regression", "regression", "suspect", "noise"]
    assert ordered[0].corrected_ratio == 5.0


@pytest.mark.parametrize(
    ("shift", "resource", "verdict", "text"),
    [
        (Shift(1.01, 1.02, 20), "total_time", "steady", "within the usual variation; it varies by 2.0%"),
        (Shift(1.2, 1.02, 20), "total_time", "slower", "look for the reason in the machine"),
        (Shift(0.8, None, 20), "total_time", "faster", "0.80 times as much as usual. That"),
        (Shift(None, None, 1), "total_time", "unknown", "Only 1 test can be compared"),
        (Shift(None, None, 20), "mem_usage", "unknown", "Memory does not follow"),
    ],
)
def test_a_shift_is_described(shift: Shift, resource: str, verdict: str, text: str) -> None:
    """The finding about the machine has a verdict and an explanation."""
    found = verdicts.describe_shift(shift, resource)
    assert found.verdict == verdict
    assert text in found.explanation


@pytest.mark.parametrize(
    ("counts", "verdict", "text"),
    [
        ({"regression": 2, "suspect": 1, "noise": 5}, "regression", "2 tests of 8"),
        ({"suspect": 1, "noise": 5}, "suspect", "1 test of 6"),
        ({"improvement": 1, "noise": 5}, "improvement", "1 test of 6"),
        ({"noise": 1, "new": 4}, "noise", "None of 1 test moved"),
        ({"unfit": 3}, "unfit", "Nothing can be said: because"),
        ({"new": 3}, "unfit", "no test was measured on both sides"),
        ({"unfit": 7, "improvement": 1}, "unfit", "Most tests cannot be judged: because"),
    ],
)
def test_the_overall_verdict_is_the_worst_of_the_tests(counts: dict[str, int], verdict: str, text: str) -> None:
    """The explanation has the number of tests, and names a slow machine."""
    all_counts = dict.fromkeys(verdicts.VERDICTS, 0) | counts
    shift = verdicts.describe_shift(Shift(1.2, 1.02, 20), "total_time")
    found = verdicts.overall_verdict(all_counts, shift, ["because"] if counts.get("unfit") else [])
    assert found[0] == verdict
    assert text in found[1]
    if verdict not in ("unfit",):
        assert "The machine was slower as a whole." in found[1]


def test_the_difference_of_contexts_names_all_fields_but_the_frequency() -> None:
    """Each different field is named with both values."""
    one = Context("c", "c", 8, 2000.0, "x86", "v", 16000, "rack7", "x86_64", "64bit", "Linux 6.1", "3.11")
    other = Context("d", "d", 4, 3000.0, "x86", "v", 16000, "rack7", "x86_64", "64bit", "Linux 6.1", "3.12")
    difference = verdicts.context_difference(one, other)
    assert difference == "cpu_count 4 became 8; python_info '3.12' became '3.11'"
    assert verdicts.context_difference(one, one) == ""


def test_default_limits_depend_on_the_resource() -> None:
    """Without a least change in the request, that of the resource applies."""
    assert verdicts.ComparisonRequest(resource="mem_usage").limits().change == 1.0
    assert verdicts.ComparisonRequest(min_change=0.5, min_effect=0.1).limits() == verdicts.Limits(0.1, 0.5)
