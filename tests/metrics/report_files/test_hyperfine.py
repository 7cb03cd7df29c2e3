"""The JSON of hyperfine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from smartmob.metrics.report_files.hyperfine import HyperfineReport
from smartmob.metrics.report_files.report import Case, CaseOutcome


def read(tmp_path: Path, *results: dict[str, Any]) -> tuple[HyperfineReport, list[Case]]:
    """Return the report and the cases of some results."""
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"results": results}))
    assert HyperfineReport.looks_like(path.read_bytes())
    report = HyperfineReport(path)
    return report, list(report.cases())


def result(**changes: Any) -> dict[str, Any]:
    """Return the result of a command."""
    return {
        "command": "sort big.txt",
        "mean": 2.0,
        "stddev": 0.1,
        "median": 1.5,
        "user": 1.0,
        "system": 0.5,
        "times": [1.0, 2.0, 3.0],
        "exit_codes": [0, 0, 0],
    } | changes


def test_a_command_has_its_mean_and_its_parameters(tmp_path: Path) -> None:
    """Hyperfine itself compares by the mean; user and system time are means too."""
    _, (case,) = read(tmp_path, result(parameters={"n": "4", "x": "y"}, memory_usage_byte=[2**20, 2 * 2**20]))
    assert (case.name, case.variant, case.kind) == ("sort big.txt", "sort big.txt [n=4, x=y]", "command")
    assert (case.total_time, case.user_time, case.kernel_time, case.cpu_usage) == (2.0, 1.0, 0.5, 0.75)
    assert (case.mem_usage, case.outcome, case.remarks) == (2.0, CaseOutcome.PASSED, ())


def test_runs_that_failed_do_not_count(tmp_path: Path) -> None:
    """A signal is written as null; a command of which all runs failed has failed."""
    _, (some, every, without) = read(
        tmp_path,
        result(exit_codes=[0, 1, None]),
        result(exit_codes=[1, 1, 1]),
        result(exit_codes=[1], times=None),
    )
    assert (some.total_time, some.user_time, some.outcome) == (1.0, None, CaseOutcome.PASSED)
    assert [remark.kind for remark in some.remarks] == ["failed runs"]
    assert (every.outcome, without.outcome) == (CaseOutcome.FAILED, CaseOutcome.FAILED)


@pytest.mark.parametrize(("changes", "expected"), [({"mean": None}, 2.0), ({"mean": None, "times": None}, None)])
def test_a_missing_mean_is_computed_or_unknown(tmp_path: Path, changes: dict[str, Any], expected: float | None) -> None:
    """A time that is in no field is unknown, and that is said."""
    _, (case,) = read(tmp_path, result(**changes))
    assert case.total_time == expected
    assert bool(case.remarks) == (expected is None)


def test_a_result_without_a_command_is_told(tmp_path: Path) -> None:
    """The others are read."""
    report, cases = read(tmp_path, {"mean": 1.0}, result())
    assert len(cases) == 1
    assert [remark.kind for remark in report.header.remarks] == ["unread row"]
