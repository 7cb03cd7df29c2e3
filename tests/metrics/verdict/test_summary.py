"""The summary of a comparison: the decision table, and the agreement of words, counts and alarms with the rows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.cli.compare import ALARMS
from smartmob.metrics.model import Place
from smartmob.metrics.verdict import summary
from smartmob.metrics.verdict.summary import DECISIONS, resolve_other_machines, summarise, without_value
from smartmob.metrics.verdict.verdicts import VERDICTS, ComparedContext, ItemVerdict, ShiftFound, Verdict

ROOT = Path(__file__).parents[3]


def _row(verdict: Verdict, item: str = "test_a", **changes: Any) -> ItemVerdict:
    values: dict[str, Any] = {
        **{"item_id": "i", "path": "tests.test_a", "item": item, "variant": item, "kind": "function", "context_h": "c"},
        **{"base": None if verdict == "new" else 0.1, "head": None if verdict == "gone" else 0.1, "level": None},
        **{"ratio": None, "corrected_ratio": None, "mad": None, "sessions": 0, "confidence": "normal"},
        "reason": "because" if verdict == "unfit" else verdict,
    }
    return ItemVerdict(verdict=verdict, **(values | changes))


def _rows(**counts: int) -> list[ItemVerdict]:
    return [_row(name, f"{name}_{n}") for name, count in counts.items() for n in range(count)]  # type: ignore[arg-type]  # names of verdicts


def _context(verdict: str, node: str = "rack7") -> ComparedContext:
    shift = ShiftFound(verdict, 1.2, 1.02, 9, "")  # type: ignore[arg-type]  # names of verdicts
    place = Place(node, "host_name", "3.11", "by its host name", None, node)
    return ComparedContext("c", node, "3.11", 9, shift, None, place)


@pytest.mark.parametrize(
    ("counts", "verdict", "text"),
    [
        ({}, "unfit", "neither side has a measured test."),
        ({"regression": 2, "suspect": 1, "noise": 5}, "regression", "2 of 8 tests became slower. 1 more test may"),
        ({"suspect": 1, "noise": 5}, "suspect", "1 of 6 tests"),
        ({"improvement": 1, "noise": 5}, "improvement", "1 of 6 tests"),
        ({"noise": 1, "new": 4}, "noise", "None of 1 test became slower or faster. 4 tests are new."),
        ({"unfit": 3}, "unfit", "because."),
        ({"unfit": 3, "gone": 1}, "unfit", "because. 1 test is gone."),
        ({"new": 3}, "unfit", "all tests are new: there is nothing to compare them with."),
        ({"gone": 3}, "gone", "No test was judged. 3 tests are gone."),
        ({"gone": 3, "new": 3}, "gone", "No test was judged. 3 tests are gone. 3 tests are new."),
        ({"noise": 1, "gone": 7}, "gone", "More tests are gone than were judged (1). 7 tests are gone."),
        ({"improvement": 1, "gone": 7}, "gone", "1 test became faster. 7 tests are gone."),
        ({"noise": 7, "gone": 1}, "gone", "None of 7 tests became slower or faster. 1 test is gone."),
        ({"improvement": 1, "noise": 7, "gone": 1}, "improvement", "1 of 8 tests became faster. 1 test is"),
        ({"regression": 1, "gone": 7}, "regression", "1 of 1 test became slower. 7 tests are gone."),
        ({"unfit": 7, "improvement": 1}, "unfit", "most tests cannot be judged: because."),
        ({"unfit": 1, "noise": 7}, "noise", "faster. 1 test cannot be judged: because."),
    ],
)  # fmt: skip
def test_each_combination_of_rows_has_its_verdict(counts: dict[str, int], verdict: str, text: str) -> None:
    """Each combination of rows has its verdict, and its explanation tells all numbers that matter."""
    found = summarise(_rows(**counts), [])
    assert found.verdict == verdict
    assert text in found.explanation
    assert {name: number for name, number in found.counts.items() if number} == counts


@given(
    st.lists(st.tuples(st.sampled_from(VERDICTS), st.booleans()), max_size=12),
    st.lists(st.sampled_from(["steady", "slower", "faster", "unknown"]), max_size=3),
)
def test_the_summary_is_a_function_of_the_rows(rows: list[tuple[Verdict, bool]], shifts: list[str]) -> None:
    """For any rows the numbers in the words are those of the rows, and nothing is said that no row says."""
    made = [
        _row(verdict, f"t{n}", renamed_from="old" if renamed and verdict not in ("gone", "new") else None)
        for n, (verdict, renamed) in enumerate(rows)
    ]
    found = summarise(made, [_context(shift) for shift in shifts])
    text = found.explanation
    assert summarise(made[::-1], [_context(shift) for shift in shifts]) == found
    assert found.counts == {verdict: sum(row.verdict == verdict for row in made) for verdict in VERDICTS}
    judged = len(made) - found.counts["gone"] - found.counts["new"] - found.counts["unfit"]
    for word, number in (("gone", "gone"), ("new", "new")):
        said = re.search(rf"(\d+) tests? (?:is|are) {word}", text)
        assert int(said[1] if said else 0) == found.counts[number], text
    assert ("became slower." in text) == (found.counts["regression"] > 0)
    assert ("became faster." in text) == (found.counts["improvement"] > 0)
    assert ("may have" in text) == (found.counts["suspect"] > 0)
    assert ("renamed" in text) == (found.renamed > 0)
    assert ("judged: because" in text or text.startswith("because.")) == (found.counts["unfit"] > 0)
    if "None of" in text:
        assert f"None of {judged} test" in text
        assert judged == found.counts["noise"] > 0
    if "all tests are new" in text:
        assert found.counts["new"] == len(made) > 0
    if "More tests are gone" in text:
        assert found.counts["gone"] > judged
    assert text.count("slower as a whole") == shifts.count("slower")
    assert text.count("faster as a whole") == shifts.count("faster")
    assert found.verdict in {*(row.verdict for row in made), "unfit"}
    assert ("shift" in found.alarms) == bool({"slower", "faster"} & set(shifts))
    for alarm in ("regression", "gone"):
        assert (alarm in found.alarms) == (found.counts[alarm] > 0)
    assert ("suspect" in found.alarms) == (found.counts["regression"] + found.counts["suspect"] > 0)
    assert ("unfit" in found.alarms) == (found.counts["unfit"] > 0 or found.verdict == "unfit")


def test_few_tests_that_cannot_be_judged_name_the_largest_difference() -> None:
    """One test that took twice as long among few is named, though it cannot be judged."""
    rows = [_row("unfit", corrected_ratio=1.01), _row("unfit", "test_b", corrected_ratio=2.0)]
    text = summarise(rows, []).explanation
    assert text == ("because. The largest difference is that of tests.test_a::test_b, 2.00 times the usual value.")
    assert summarise([_row("unfit", corrected_ratio=1.01)], []).explanation == "because."


def test_a_test_on_another_machine_is_neither_new_nor_gone() -> None:
    """A test that both sides measured, on different machines only, is one row that cannot be judged."""
    rows = [_row("gone", context_h="a"), _row("new", context_h="b"), _row("gone", "test_b")]
    settled = resolve_other_machines(rows)
    assert [(row.verdict, row.item) for row in settled] == [("unfit", "test_a"), ("gone", "test_b")]
    assert "another machine" in settled[0].reason
    judged = resolve_other_machines([_row("noise", context_h="a"), _row("gone", context_h="b")])
    assert [row.verdict for row in judged] == ["noise", "unfit"]


def test_a_test_without_a_value_is_neither_new_nor_gone() -> None:
    """A test that one side executed without a value cannot be judged, and the reason names the side."""
    rows = [_row("gone"), _row("new", "test_b"), _row("gone", "test_c")]
    name = ("tests.test_a", "test_a", "test_a", "function")
    other = ("tests.test_a", "test_b", "test_b", "function")
    settled = without_value(rows, {name}, {other}, "total_time")
    assert [row.verdict for row in settled] == ["unfit", "unfit", "gone"]
    assert settled[0].reason == "the head executed it without a value of total_time"
    assert settled[1].reason == "the base executed it without a value of total_time"


def test_several_machines_are_named() -> None:
    """With several machines each slower one is named, and the rest counted."""
    contexts = [_context("slower", f"rack{n}") for n in range(5)]
    text = summarise(_rows(noise=1), contexts).explanation
    assert text.endswith(
        "rack0 was slower as a whole. rack1 was slower as a whole. rack2 was slower as a whole. "
        "2 more machines were slower or faster."
    )


def test_the_page_shows_the_decision_table() -> None:
    """The reference has the decisions of the code, in their order, with their conditions, verdicts and words."""
    page = (ROOT / "docs/reference/verdicts.md").read_text(encoding="utf-8")
    lines = page.partition("## The whole")[2].partition("\n## ")[0].splitlines()
    shown = [line for line in lines if re.match(r"\| \d+ \|", line)]
    expected = [
        f"| {number} | {decision.when} | `{decision.verdict}` | {decision.text} |"
        for number, decision in enumerate(DECISIONS, 1)
    ]
    assert shown == expected


def test_the_command_knows_the_alarms() -> None:
    """The words of `--fail-on` are those that a comparison has as alarms."""
    assert ALARMS == summary.ALARMS
