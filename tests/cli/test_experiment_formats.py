"""The forms of the report of an experiment."""

from __future__ import annotations

from xml.etree import ElementTree

import pytest

from smartmob.cli import experiment_formats
from smartmob.experiments.model import (
    ExperimentReport,
    Instructions,
    MemoryDifference,
    Pair,
    SideReport,
    Verdict,
    VerdictOnTest,
)


def made_test(name: str, verdict: Verdict, **values: object) -> VerdictOnTest:
    """Return the verdict on a test, with other values than usual ones by name."""
    known: dict[str, object] = {
        **{"witness": "clock", "clock": verdict, "ratio": 1.2, "low": 1.1, "high": 1.3, "cpu_ratio": 1.2},
        **{"pairs": 12, "set_aside": 0, "base_seconds": 0.005, "head_seconds": 0.006},
    }
    return VerdictOnTest(name=name, verdict=verdict, **{**known, **values})  # type: ignore[arg-type]  # by name


def made_report(*tests: VerdictOnTest, verdict: Verdict = "slower") -> ExperimentReport:
    """Return the report of an experiment with these tests."""
    pairs = [Pair(number, "base", number, 2.0, {}, {"gcc": 0.5}) for number in range(1, 13)]
    sides = (SideReport("main", "revision", "0" * 40, "3.12.1"), SideReport("HEAD", "revision", "1" * 40, "3.12.1"))
    return ExperimentReport(
        verdict, *sides, list(tests), 0.03, 0.95, pairs, 75.0, "all tests are decided", {}, ["a note"]
    )


_SLOWER = made_test("a.py::test_a|b[<x>]", "slower", memory=MemoryDifference("more", 2_000_000, 1e6, 3e6))
_COUNTED = made_test(
    "a.py::test_b",
    "slower",
    witness="instructions",
    clock="undecided",
    instructions=Instructions("more", 1000, 1021, 1.021, 0.0),
)
_SAME = made_test("a.py::test_c", "same")
_OPEN = made_test("a.py::test_d", "undecided", low=None, high=None, ratio=None, base_seconds=None, head_seconds=None)
_ALL = made_report(_SAME, _OPEN, _COUNTED, _SLOWER)


def test_the_table_has_what_needs_attention(capsys: pytest.CaptureFixture[str]) -> None:
    """Slower tests come first, both witnesses are told apart, and tests without a change only with --all."""
    experiment_formats.print_report(_ALL, everything=False)
    lines = capsys.readouterr().out.splitlines()
    text = "\n".join(lines)
    assert lines[0] == "main → HEAD: 2 slower, 1 undecided, 1 the same within 3%"
    assert "2.1% more" in text
    assert "by instructions; the clock cannot tell" in text
    assert "2.0 MB more memory" in text
    assert "test_c" not in text
    assert "other programs used CPU (processors on average): gcc 0.5" in text
    assert "12 pairs in 1 min 15 s; all tests are decided" in text
    experiment_formats.print_report(_ALL, everything=True)
    assert "test_c" in capsys.readouterr().out


def test_a_difference_that_was_counted_once_is_not_confirmed() -> None:
    """The time may be up before the count with another hash seed."""
    test = made_test("a", "undecided", instructions=Instructions("not confirmed", 1000, 1021, 1.021, 0.0))
    assert experiment_formats.instructions(test) == "+2.1%, not confirmed"


def test_markdown_takes_names_literally() -> None:
    """A name with a bar or with HTML stays in its cell."""
    text = experiment_formats.markdown(_ALL)
    assert text.startswith("### 🔴 main → HEAD")
    row = next(line for line in text.splitlines() if "test\\_a" in line)
    assert row.replace("\\|", "").count("|") == 9
    assert "<x>" not in row


def test_junit_counts_as_the_exit_code() -> None:
    """A slower test is a failure, an undecided one is skipped."""
    suite = ElementTree.fromstring(experiment_formats.junit(_ALL)).find("testsuite")
    assert suite is not None
    assert {key: suite.get(key) for key in ("tests", "failures", "skipped")} == {
        "tests": "4",
        "failures": "2",
        "skipped": "1",
    }
    assert [case.get("name") for case in suite.findall("testcase[failure]")] == ["test_b", "test_a|b[<x>]"]


def test_the_document_has_the_keys_of_the_reference() -> None:
    """Verdict, tests, and of each test its ratio with bounds."""
    found = experiment_formats.document(_ALL)
    assert found["verdict"] == "slower"
    assert {"name", "verdict", "ratio", "low", "high", "pairs"} <= found["tests"][0].keys()
    assert found["tests"][1]["low"] is None


@pytest.mark.parametrize(
    ("alarms", "failed"),
    [((), []), (("slower",), ["slower"]), (("memory", "busy", "memory"), ["memory"]), (("undecided",), ["undecided"])],
)
def test_the_words_of_fail_on_that_apply_are_named_once(alarms: tuple[str, ...], failed: list[str]) -> None:
    """The words of --fail-on that apply, each once."""
    assert experiment_formats.failed(_ALL, alarms) == failed
    assert experiment_formats.failed(made_report(made_test("a", "unfit")), ("busy", "slower")) == ["busy"]
