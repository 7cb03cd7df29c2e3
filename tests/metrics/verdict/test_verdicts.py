"""What is said of a comparison."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.metrics.model import Context
from smartmob.metrics.verdict import verdicts
from smartmob.metrics.verdict.change_detection import Change, DetectedChanges, Shift
from smartmob.metrics.verdict.verdicts import Environment, Verdict

NAME = ("tests/test_sum.py", "test_sum", "test_sum[1]", "function")
PLACE = Environment("c", "rack7", "3.11", {NAME: "id"})
NOTHING = DetectedChanges(Shift(1.0, 1.02, 20), {}, {}, {})


def _change(direction: int = 1, confirmed: bool | None = True, **changes: Any) -> Change:
    values = {"base": 0.1, "head": 0.2, "level": 0.1, "corrected": 0.2, "noise": 0.02, "history": 10}
    return Change(direction, confirmed, **(values | changes))


def _said(change: Change, unfit: str | None = None, tests: int = 20) -> verdicts.ItemVerdict:
    found = DetectedChanges(Shift(1.0, 1.02, tests), {NAME: change}, {}, {})
    return verdicts.item_verdicts(found, PLACE, unfit, "base")[0]


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
def test_a_test(direction: int, confirmed: bool | None, verdict: Verdict, reason: str) -> None:
    """The verdict and its reason."""
    found = _said(_change(direction, confirmed))
    assert (found.verdict, found.confidence, found.item_id) == (verdict, "normal", "id")
    assert reason in found.reason


def test_a_busy_machine() -> None:
    """Whatever the rule says, the reason of the machine stands before it."""
    found = _said(_change(), "the machine was busy")
    assert (found.verdict, found.reason, found.corrected_ratio) == ("unfit", "the machine was busy", 2.0)


def test_confidence() -> None:
    """It is low with little history, with few tests, and there is no verdict without any noise to compare with."""
    assert "a history of 2" in _said(_change(history=2)).reason
    assert _said(_change(history=2)).confidence == "low"
    assert "too few tests" in _said(_change(), tests=3).reason
    assert _said(_change(noise=None)).verdict == "unfit"


def test_new_and_gone() -> None:
    """What one side lacks."""
    new, gone = ("a", "new", "new", "function"), ("a", "gone", "gone", "function")
    found = DetectedChanges(NOTHING.shift, {}, {new: 1.0}, {gone: 2.0})
    rows = verdicts.item_verdicts(found, Environment("c", "", "", {new: "1", gone: "2"}), None, "history")
    assert [(row.verdict, row.base, row.head, row.reason) for row in rows] == [
        ("new", None, 1.0, "the history does not have it"),
        ("gone", 2.0, None, "the head does not have it"),
    ]


def test_the_order() -> None:
    """The worst first, and among equals the largest change."""
    rows = [_said(_change(0, None)), _said(_change(head=0.2)), _said(_change(corrected=0.5)), _said(_change(1, None))]
    ordered = verdicts.by_severity(rows)
    assert [row.verdict for row in ordered] == ["regression", "regression", "suspect", "noise"]
    assert ordered[0].corrected_ratio == 5.0


@pytest.mark.parametrize(
    ("shift", "resource", "verdict", "says"),
    [
        (Shift(1.01, 1.02, 20), "total_time", "steady", "within the usual variation; it varies by 2.0%"),
        (Shift(1.2, 1.02, 20), "total_time", "slower", "look for the reason in the machine"),
        (Shift(0.8, None, 20), "total_time", "faster", "0.80 times as much as usual. That"),
        (Shift(None, None, 1), "total_time", "unknown", "Only 1 test can be compared"),
        (Shift(None, None, 20), "mem_usage", "unknown", "Memory does not follow"),
    ],
)
def test_a_shift(shift: Shift, resource: str, verdict: str, says: str) -> None:
    """A finding about the machine, in words."""
    found = verdicts.describe_shift(shift, resource)
    assert found.verdict == verdict
    assert says in found.explanation


@pytest.mark.parametrize(
    ("counts", "verdict", "says"),
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
def test_the_whole(counts: dict[str, int], verdict: str, says: str) -> None:
    """The worst of its tests, and how many there are."""
    every = dict.fromkeys(verdicts.VERDICTS, 0) | counts
    shift = verdicts.describe_shift(Shift(1.2, 1.02, 20), "total_time")
    found = verdicts.overall_verdict(every, shift, ["because"] if counts.get("unfit") else [])
    assert found[0] == verdict
    assert says in found[1]
    if verdict not in ("unfit",):
        assert "The machine was slower as a whole." in found[1]


def test_how_contexts_differ() -> None:
    """Every field that makes another place of it, and not the frequency."""
    one = Context("c", "c", 8, 2000.0, "x86", "v", 16000, "rack7", "x86_64", "64bit", "Linux 6.1", "3.11")
    other = Context("d", "d", 4, 3000.0, "x86", "v", 16000, "rack7", "x86_64", "64bit", "Linux 6.1", "3.12")
    said = verdicts.context_difference(one, other)
    assert said == "cpu_count 4 became 8; python_info '3.12' became '3.11'"
    assert verdicts.context_difference(one, one) == ""


def test_what_matters() -> None:
    """Without a least change that of the resource counts."""
    assert verdicts.ComparisonRequest(resource="mem_usage").limits().change == 1.0
    assert verdicts.ComparisonRequest(min_change=0.5, min_effect=0.1).limits() == verdicts.Limits(0.1, 0.5)
