"""The wording of verdicts."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.metrics.model import Context
from smartmob.metrics.verdict import verdicts
from smartmob.metrics.verdict.change_detection import ChangeLimits, DetectedChange, DetectedChanges, Shift
from smartmob.metrics.verdict.scales import SCALES
from smartmob.metrics.verdict.verdicts import Environment, Verdict

NAME = ("tests/test_sum.py", "test_sum", "test_sum[1]", "function")
ENVIRONMENT = Environment("c", "rack7", "3.11", {NAME: "id"})
NOTHING = DetectedChanges(Shift(1.0, 1.02, 20), {}, {}, {})


def _change(direction: int = 1, confirmed: bool | None = True, **changes: Any) -> DetectedChange:
    values = {"base": 0.1, "head": 0.2, "level": 0.1, "corrected": 0.2, "noise": 0.02, "history": 10}
    return DetectedChange(direction, confirmed, **(values | changes))


def _verdict_on(
    change: DetectedChange, unfit: str | None = None, tests: int = 20, resource: str = "total_time"
) -> verdicts.ItemVerdict:
    found = DetectedChanges(Shift(1.0, 1.02, tests), {NAME: change}, {}, {})
    return verdicts.item_verdicts(found, ENVIRONMENT, unfit, "base", resource)[0]


@pytest.mark.parametrize(
    ("direction", "confirmed", "verdict", "reason"),
    [
        (1, True, "regression", "in more than one run"),
        (1, None, "suspect", "seen in one run: run again"),
        (1, False, "noise", "more, but not in the next run"),
        (0, None, "noise", "within what is usual"),
        (-1, True, "improvement", "in more than one run"),
        (-1, None, "noise", "less, but seen in one run only"),
    ],
)
def test_a_verdict_follows_from_direction_and_confirmation(
    direction: int, confirmed: bool | None, verdict: Verdict, reason: str
) -> None:
    """Each combination has its verdict and reason."""
    found = _verdict_on(_change(direction, confirmed))
    assert (found.verdict, found.confidence, found.item_id) == (verdict, "normal", "id")
    assert reason in found.reason


@pytest.mark.parametrize(
    ("resource", "word"),
    [("total_time", "slower"), ("user_time", "slower"), ("mem_usage", "larger"), ("cpu_usage", "larger")],
)
def test_a_test_that_still_takes_more_has_the_word_of_its_resource(resource: str, word: str) -> None:
    """A time is slower, memory and the use of the processor are larger; the commit is shortened."""
    found = _verdict_on(_change(0, None, since="a11c0de5" * 5), resource=resource)
    assert (found.verdict, found.reason) == ("noise", f"as in the previous run, but {word} since a11c0de5a11c")


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
    rows = verdicts.item_verdicts(found, Environment("c", "", "", {new: "1", gone: "2"}), None, "history", "total_time")
    assert [(row.verdict, row.base, row.head, row.reason) for row in rows] == [
        ("new", None, 1.0, "the history does not have it"),
        ("gone", 2.0, None, "the head does not have it"),
    ]


def test_a_renamed_test_names_its_old_name() -> None:
    """The row of a renamed test has the name in the base, beside a verdict like any other."""
    old = ("tests/test_old.py", "test_sum", "test_sum[1]", "function")
    environment = Environment("c", "rack7", "3.11", {NAME: "id"}, {NAME: old})
    found = DetectedChanges(NOTHING.shift, {NAME: _change()}, {}, {})
    (row,) = verdicts.item_verdicts(found, environment, None, "base", "total_time")
    assert (row.verdict, row.renamed_from) == ("regression", "tests/test_old.py::test_sum[1]")
    assert row.reason.startswith("renamed from tests/test_old.py::test_sum[1]; seen in more than one run")


def test_an_unfit_test_says_how_much_is_missing() -> None:
    """With too little history and too few tests the reason has both numbers, and what is needed."""
    reason = _verdict_on(_change(noise=None, history=1), tests=3).reason
    assert reason == ("too little history (1 of 5 runs), and too few tests (3 of 5) to estimate the usual variation")


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
        (Shift(1.029, 1.002, 20), "total_time", "steady", "1.03 times as much as usual, too little to call it a"),
        (Shift(0.98, 1.03, 20), "total_time", "steady", "within the usual variation; it varies by 3.0%"),
        (Shift(1.2, 1.02, 20), "total_time", "slower", "look for the cause in the machine"),
        (Shift(0.8, None, 20), "total_time", "faster", "0.80 times as much as usual. Each"),
        (Shift(0.8, None, 20), "total_time", "faster", "is known only after 5 earlier runs"),
        (Shift(0.97, None, 20), "total_time", "unknown", "too little to call it a slower or faster machine"),
        (Shift(1.11, None, 20), "total_time", "unknown", "1.11 times"),
        (Shift(0.97, 1.0, 20), "total_time", "faster", "it varies by less than 0.1%"),
        (Shift(None, None, 1), "total_time", "unknown", "Only 1 test can be compared"),
        (Shift(None, None, 20), "mem_usage", "unknown", "Memory does not follow"),
    ],
)
def test_a_shift_is_described(shift: Shift, resource: str, verdict: str, text: str) -> None:
    """The finding about the machine has a verdict and an explanation."""
    found = verdicts.describe_shift(shift, resource)
    assert found.verdict == verdict
    assert text in found.explanation


def test_the_difference_of_contexts_names_all_fields_but_the_frequency() -> None:
    """Each different field is named with both values."""
    one = Context("c", "c", 8, 2000.0, "x86", "v", 16000, "rack7", "x86_64", "64bit", "Linux 6.1", "3.11")
    other = Context("d", "d", 4, 3000.0, "x86", "v", 16000, "rack7", "x86_64", "64bit", "Linux 6.1", "3.12")
    difference = verdicts.context_difference(one, other)
    assert difference == "cpu_count 4 became 8; python_info '3.12' became '3.11'"
    assert verdicts.context_difference(one, one) == ""


def test_default_limits_depend_on_the_resource() -> None:
    """Without a least change in the request, that of the resource applies, and of benchmarks 0."""
    limits, memory = verdicts.ComparisonRequest(resource="mem_usage").limits(), SCALES["mem_usage"]
    assert [limits.least_change(memory.of(kind)) for kind in ("function", "benchmark")] == [1.0, 0.0]
    given = verdicts.ComparisonRequest(min_change=0.5, min_effect=0.1).limits()
    assert given == ChangeLimits(0.1, 0.5)
    assert [given.least_change(memory.of(kind)) for kind in ("function", "benchmark")] == [0.5, 0.5]
