"""A comparison as Markdown and as JUnit XML."""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree

import pytest

from smartmob.cli import verdict_formats as formats

SHIFT = {"verdict": "slower", "ratio": 1.2, "usual": 1.02, "tests": 9, "explanation": "The machine was slower."}
SIDE = {"name": "x", "kind": "commit", "id": "0123456789abcdef", "scm_ref": "0123456789abcdef", "sessions": []}


def _row(verdict: str, item: str = "test_a", **changes: Any) -> dict[str, Any]:
    return {
        **{"verdict": verdict, "path": "tests/test_a.py", "item": item, "variant": item, "kind": "function"},
        **{"base": 0.1, "head": 0.25, "level": 0.1, "ratio": 2.5, "corrected_ratio": 2.5, "mad": 0.02},
        **{"reason": f"because of {item}", "sessions": 9, "confidence": "normal", "context_h": "c", "item_id": "i"},
        "renamed_from": None,
    } | changes


def _found(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    counts: dict[str, int] = {}
    for row in rows:
        counts[row["verdict"]] = counts.get(row["verdict"], 0) + 1
    verdicts = ("regression", "suspect", "unfit", "improvement", "gone", "new", "noise")
    host = {"explanation": "The processors were busy."}
    return {
        **{"base": SIDE, "head": SIDE | {"kind": "run"}, "resource": "total_time", "unit": "s"},
        **{"verdict": rows[0]["verdict"], "explanation": "1 test became slower.", "shift": SHIFT},
        **{"counts": {verdict: counts.get(verdict, 0) for verdict in verdicts}, "items": list(rows)},
        **{"renamed": 0, "alarms": []},
        "contexts": [{"machine_node": "rack7", "python_info": "3.11 (main)", "shift": SHIFT, "host": host}],
    } | changes


class TestMarkdown:
    """The comment on a pull request."""

    def test_a_comment_has_verdict_table_and_folded_rest(self) -> None:
        """Verdict, table, a note on the machine, and the rest folded up."""
        text = formats.markdown(_found(_row("regression"), _row("suspect", "test_b"), _row("new", "test_c", base=None)))
        head, counts, table, note, *rest = text.split("\n\n")
        assert head == "### 🔴 Slower: 1 test became slower."
        assert counts.startswith("run 0123456789ab (0123456789ab) against commit 0123456789ab, by total\\_time: ")
        assert counts.endswith(": 1 slower, 1 maybe slower, 1 new.")
        assert table.splitlines()[2] == (
            "| 🔴 | tests/test\\_a.py::test\\_a | 100.0 ms | 250.0 ms | x2.50 | ±2.0% | because of test\\_a |"
        )
        assert note == "> The machine was slower.\n> The processors were busy."
        assert rest[0] == "<details><summary>1 more</summary>"
        assert "| new | tests/test\\_a.py::test\\_c | - |" in rest[1]

    def test_without_changes_there_is_no_table(self) -> None:
        """Without anything to look at there is no table."""
        text = formats.markdown(_found(_row("noise")))
        assert "|" not in text
        assert "details" not in text

    def test_failed_words_are_named(self) -> None:
        """The words of --fail-on that apply are named, and gone tests stand in the first table then."""
        text = formats.markdown(_found(_row("gone", head=None, level=None, corrected_ratio=None)), ("gone", "shift"))
        assert "**Failed** on: gone, machine slower or faster." in text
        assert "details" not in text

    def test_names_are_literal_in_markdown(self) -> None:
        """A name is taken neither as Markdown nor as HTML nor as the end of a cell."""
        text = formats.markdown(_found(_row("regression", "a|b <script>\n# [x](y)")))
        assert "a\\|b \\<script\\> \\# \\[x\\](y)" in text

    @pytest.mark.parametrize(
        ("name", "shown"),
        [
            ("@all", "@&#8203;all"),
            ("https://evil.example", "https:&#8203;//evil.example"),
            ("www.evil.example", "www&#8203;.evil.example"),
            ("mailto:a@b.c", "mailto&#8203;:a@&#8203;b.c"),
            ("#12", "\\#&#8203;12"),
            ("&#64;all", "&amp;\\#&#8203;64;all"),
            ("- item", "\\- item"),
            ("1. item", "1\\. item"),
            ("a\x1b[31m\x9b\u202e\u2066", "a\ufffd\\[31m\ufffd\ufffd\ufffd"),
        ],
    )
    def test_nothing_is_mentioned_linked_or_obeyed(self, name: str, shown: str) -> None:
        """Mentions, bare links and references are taken apart in every place, and controls are replaced."""
        text = formats.markdown(_found(_row(name, name, reason=name), explanation=name))
        assert f"| {shown} |" in text
        assert f": {shown}\n" in text

    def test_a_long_comment_is_bounded(self) -> None:
        """The table is short, and what is folded up has a bound too."""
        text = formats.markdown(_found(*(_row("regression", f"test{n}") for n in range(300))))
        before, _, folded = text.partition("<details>")
        assert before.count("🔴 | ") == 20
        assert folded.count("🔴 | ") == 200
        assert "80 more are left out." in folded


class TestStillSlower:
    """A test that is as slow as in the run before, and slower than before a commit."""

    def test_it_is_no_test_without_a_change(self) -> None:
        """It has a row with its commit in each format, and is counted apart."""
        row = _row("noise", word="still slower since a11c0de", since="a11c0de", reason="as in the run before")
        found = _found(row, _row("noise", "test_b", corrected_ratio=1.0), word="still slower since a11c0de")
        text = formats.markdown(found)
        assert text.startswith("### 🟠 Still slower since a11c0de: ")
        assert "by total\\_time: 1 no change, 1 still slower since a11c0de." in text
        assert "| 🟠 still slower since a11c0de | tests/test\\_a.py::test\\_a |" in text
        cases = {
            case.get("name"): case for case in ElementTree.fromstring(formats.junit(found).encode()).iter("testcase")
        }
        assert str(cases["test_a"][0].text).startswith("still slower since a11c0de: ")
        assert len(cases["test_b"]) == 0


class TestReasons:
    """Tests that cannot be judged."""

    def test_a_reason_is_said_once(self) -> None:
        """Tests that share a reason are one line with their number, beside the rows of others."""
        rows = [_row("unfit", f"test_{number}", reason="the machine was busy") for number in range(9)]
        kept, lines = formats.without_repetitions([*rows, _row("unfit", "test_x", reason="other"), _row("regression")])
        assert [row["item"] for row in kept] == ["test_x", "test_a"]
        assert lines == ["cannot tell: 9 tests: the machine was busy."]
        text = formats.markdown(_found(*rows, _row("regression"), explanation="1 test became slower."))
        assert text.count("the machine was busy") == 1
        assert formats.not_in_headline(lines, {"explanation": "The machine was busy."}) == []

    def test_a_variation_is_shown_once_it_is_known(self) -> None:
        """Of three runs nothing is said, and a variation too small for its digits is no zero."""
        values = [
            formats.variation(_row("noise", mad=mad, sessions=runs)) for mad, runs in ((0.0, 3), (0.0, 9), (0.02, 9))
        ]
        assert values == ["-", "<0.1%", "±2.0%"]


class TestJunit:
    """JUnit XML for the test report of a CI."""

    def test_slower_tests_are_failures_in_junit(self) -> None:
        """Slower tests are failures, those that cannot be judged are skipped, and what is gone has no case."""
        rows = (_row("regression"), _row("unfit", "b"), _row("suspect", "c"), _row("noise", "d"), _row("gone", "e"))
        suite = ElementTree.fromstring(formats.junit(_found(*rows)).encode())[0]
        assert {name: suite.get(name) for name in ("tests", "failures", "skipped", "errors")} == {
            **{"tests": "4", "failures": "1", "skipped": "1", "errors": "0"}
        }
        cases = {case.get("name"): case for case in suite.iter("testcase")}
        failure = cases["test_a"].find("failure")
        assert failure is not None
        assert failure.get("message") == "slower: x2.50 against the usual 100.0 ms, because of test_a"
        assert [child.tag for child in cases["b"]] == ["skipped"]
        assert [child.tag for child in cases["d"]] == []
        assert cases["c"][0].text is not None
        assert cases["c"][0].text.startswith("maybe slower: ")
        assert (failure.get("type"), cases["b"][0].get("message")) == ("regression", "cannot tell: because of b")
        assert cases["test_a"].get("time") == "0.250000"
        assert suite[-1].text == "The machine was slower.\nThe processors were busy.\ngone: tests/test_a.py::e"

    def test_failed_words_are_failures(self) -> None:
        """Rows and machines that --fail-on names are failures, so that the report agrees with the exit code."""
        rows = (_row("noise"), _row("unfit", "b", level=None), _row("gone", "c", head=None, level=None))
        suite = ElementTree.fromstring(formats.junit(_found(*rows), ("shift", "gone", "unfit")).encode())[0]
        failures = {case.get("name"): case[0].get("type") for case in suite.iter("testcase") if len(case)}
        assert failures == {"machine": "shift", "b": "unfit", "c": "gone"}
        assert [suite.get(name) for name in ("tests", "failures", "skipped")] == ["4", "3", "0"]
        nothing = formats.junit(_found(_row("new"), verdict="unfit"), ("unfit",))
        assert ElementTree.fromstring(nothing.encode())[0].get("failures") == "1"

    def test_a_renamed_test_is_told(self) -> None:
        """A renamed test has its old name in the case, and in the table of Markdown, though it has no change."""
        row = _row("noise", renamed_from="tests/old.py::test_a", reason="renamed from tests/old.py::test_a; usual")
        suite = ElementTree.fromstring(formats.junit(_found(row)).encode())[0]
        case = next(suite.iter("testcase"))
        assert case[0].text is not None
        assert "renamed from tests/old.py::test_a" in case[0].text
        assert "renamed from tests/old.py::test" in formats.markdown(_found(row)).replace("\\_", "_")

    def test_no_terminal_obeys_it(self) -> None:
        """Eight-bit controls and marks of direction, which XML can hold, are replaced."""
        text = formats.junit(_found(_row("regression", "a\x9b31m\u202e", reason="\x85\u2066")))
        assert next(ElementTree.fromstring(text.encode()).iter("testcase")).get("name") == "a\ufffd31m\ufffd"
        assert text.replace("\n", "").isprintable()

    def test_what_xml_cannot_hold(self) -> None:
        """A control character in a name does not spoil the file."""
        text = formats.junit(_found(_row("regression", "a\x1b<&\ufffe")))
        assert next(ElementTree.fromstring(text.encode()).iter("testcase")).get("name") == "a\ufffd<&\ufffd"


def test_each_value_has_its_unit() -> None:
    """Each in its unit."""
    assert [formats.value(0.5, unit) for unit in ("s", "MB", "cores")] == ["500.0 ms", "0.5 MB", "50%"]
    assert formats.value(None, "s") == "-"
    assert formats.change(_row("noise", corrected_ratio=0.9), "s") == "-10.0%"
    assert formats.change(_row("new", corrected_ratio=None, level=None), "s") == "-"
    assert formats.change(_row("regression", corrected_ratio=None, level=0.0), "s") == "+250.0 ms"


def test_each_note_names_its_machine() -> None:
    """Each note says of which machine it is."""
    found = _found(_row("noise"))
    assert formats.notes(found | {"contexts": found["contexts"] * 2})[0] == "rack7, 3.11: The machine was slower."
    assert formats.notes(found | {"contexts": []}) == ["The machine was slower."]
