"""`smartmob ab --selftest`: its sentences and its exit code."""

from __future__ import annotations

import json

import pytest

from smartmob.cli import experiment_selftest
from smartmob.experiments.model import ExperimentReport
from tests.cli.test_experiment_formats import made_report, made_test

_UNCHANGED = made_report(made_test("a", "same", low=0.98, high=1.02), made_test("b", "undecided"), verdict="undecided")
_LONGER = made_report(made_test("a", "slower"), made_test("b", "undecided"))


@pytest.mark.parametrize(
    ("unchanged", "longer", "code", "said"),
    [
        (_UNCHANGED, [_LONGER], 0, "0 false alarms on 2 tests, 1 the same"),
        (_UNCHANGED, [_LONGER], 0, "10% longer: 1 of 2 found by the clock, 0 with the wrong direction, 1 not"),
        (_UNCHANGED, [], 0, "10% longer: 0 of 2 found"),
        (_LONGER, [_LONGER], 1, "false alarm: a"),
        (_UNCHANGED, [made_report(made_test("a", "faster"))], 1, "1 with the wrong direction"),
    ],
)
def test_the_result_in_sentences(
    unchanged: ExperimentReport,
    longer: list[ExperimentReport],
    code: int,
    said: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """False alarms are named; they and wrong directions fail."""
    assert experiment_selftest.show(unchanged, longer, "table") == code
    assert said in capsys.readouterr().out


def test_the_document_has_both_experiments(capsys: pytest.CaptureFixture[str]) -> None:
    """Beside the counts, and the half width of the intervals as a logarithm."""
    experiment_selftest.show(_UNCHANGED, [_LONGER], "json")
    found = json.loads(capsys.readouterr().out)
    assert (found["found"], found["false_alarms"], len(found["experiments"])) == (1, [], 2)
    assert 0.02 < found["half_width"] < 0.1
