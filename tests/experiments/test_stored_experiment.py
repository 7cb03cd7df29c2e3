"""The parts of a stored report, and the reports that contradict themselves."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from smartmob.errors import InvalidInput
from smartmob.experiments import stored_experiment
from smartmob.experiments.model import ExperimentReport
from smartmob.experiments.stored_experiment import details_of, fitted, pairs_of, report_of, summary_of
from tests.experiments.reports import BEGIN, report, verdict


def test_the_parts_make_the_report_again() -> None:
    """Nothing of a report is lost by storing it in parts, and the summary counts its verdicts."""
    found = report()
    summary = summary_of(found, BEGIN)
    assert report_of(details_of(found, summary), found.tests, found.pairs) == found
    assert summary.ended_at - summary.started_at == timedelta(seconds=found.seconds)
    assert (summary.machine, summary.verdict, summary.tests, summary.pairs) == ("rack7", "slower", 6, 3)
    assert summary.counts == {"same": 1, "slower": 2, "faster": 1, "undecided": 1, "unfit": 1}


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"id": None}, "expected the id"),
        ({"started_at": None}, "expected the time"),
        ({"started_at": datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)}, "after the year 9999"),
        ({"verdict": "same"}, "its tests say slower, not same"),
        ({"tests": [verdict("a", "slower"), verdict("a")]}, "the test a is there 2 times"),
        ({"tests": [verdict("a", "slower")]}, "there is no test t.py::test_same"),
    ],
)
def test_a_report_that_contradicts_itself_is_refused(change: dict[str, Any], said: str) -> None:
    """The message names the field and the contradiction."""
    with pytest.raises(InvalidInput, match=said):
        summary_of(msgspec.structs.replace(report(), **change), BEGIN)


def test_pairs_have_the_ratio_of_a_test_or_the_median_of_all() -> None:
    """A test without a value in a pair has none there, and neither has a pair without tests or beyond a float."""
    found = report(verdict("a", ratio=1.0), verdict("b", ratio=2.0), verdict("c", ratio=4.0), pairs=1).pairs
    assert [pair.ratio for pair in pairs_of(found, "c").pairs] == [pytest.approx(4.0)]
    assert [pair.ratio for pair in pairs_of(found, None).pairs] == [pytest.approx(2.0)]
    assert [pair.ratio for pair in pairs_of(found, "other").pairs] == [None]
    for ratios in ({}, {"a": 1e300}):
        assert pairs_of([msgspec.structs.replace(found[0], ratios=ratios)], None).pairs[0].ratio is None


def test_a_report_that_is_too_large_loses_the_ratios_of_its_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    """The verdicts are kept, and a note tells what is missing; a smaller report is kept as it is."""
    found = report(pairs=20)
    encoded, left_out = fitted(found)
    assert (msgspec.json.decode(encoded, type=ExperimentReport), left_out) == (found, "")
    monkeypatch.setattr(stored_experiment, "MAX_BYTES", len(encoded) - 1)
    encoded, left_out = fitted(found)
    cut = msgspec.json.decode(encoded, type=ExperimentReport)
    assert cut.tests == found.tests
    assert left_out == "the ratios of single pairs of unchanged tests"
    assert [found.pairs[0].ratios.keys() - pair.ratios.keys() for pair in cut.pairs] == [{"t.py::test_same"}] * 20
    assert left_out in cut.notes[-1]
    monkeypatch.setattr(stored_experiment, "MAX_BYTES", 1000)
    encoded, left_out = fitted(found)
    assert [pair.ratios for pair in msgspec.json.decode(encoded, type=ExperimentReport).pairs] == [{}] * 20
