"""The JSON of pytest-benchmark."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files.pytest_benchmark import PytestBenchmarkReport
from smartmob.metrics.report_files.report import CaseOutcome

MACHINE = {
    "node": "rack7",
    "processor": "x86_64",
    "machine": "x86_64",
    "python_implementation": "CPython",
    "python_version": "3.12.1",
    "release": "6.1",
    "system": "Linux",
    "cpu": {"count": 8, "bits": 64, "hz_actual": [2_596_122_000, 0], "brand_raw": "A CPU"},
}


def document(**changes: Any) -> dict[str, Any]:
    """Return a document with one benchmark."""
    stats = {"min": 0.1, "mean": 0.3, "median": 0.25, "rounds": 5, "iterations": 10, "ops": 4.0, "data": [0.1, 0.2]}
    benchmark = {
        "group": None,
        "name": "test_sum[1-2]",
        "fullname": "tests/test_sum.py::TestSum::test_sum[1-2]",
        "params": {"a": 1},
        "stats": stats,
    }
    found: dict[str, Any] = {
        "machine_info": MACHINE,
        "commit_info": {"id": "abc123", "branch": "main", "project": "sums", "dirty": False},
        "benchmarks": [benchmark],
        "datetime": "2026-11-20T10:00:00.5+00:00",
        "version": "5.1.0",
    }
    return found | changes


def read(tmp_path: Path, content: Any) -> tuple[PytestBenchmarkReport, list[Any]]:
    """Return the report and the cases of a document."""
    path = tmp_path / "x.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    assert PytestBenchmarkReport.looks_like(path.read_bytes())
    report = PytestBenchmarkReport(path)
    cases = list(report.cases())
    assert list(report.cases()) == cases
    return report, cases


def test_a_benchmark_has_its_median_name_and_machine(tmp_path: Path) -> None:
    """The commit and the time of the run belong to all benchmarks."""
    report, (case,) = read(tmp_path, document())
    assert (case.path, case.name, case.variant) == ("tests.test_sum.TestSum", "test_sum", "test_sum[1-2]")
    assert (case.total_time, case.location, case.outcome) == (0.25, "tests/test_sum.py", CaseOutcome.PASSED)
    assert case.kind == "benchmark"  # another value than that of pytest-monitor for the same function
    assert (case.machine.node, case.machine.cpu_count, case.machine.cpu_vendor) == ("rack7", 8, "A CPU")
    assert (case.machine.cpu_frequency_mhz, case.machine.python_info) == (2596.122, "CPython 3.12.1")
    assert (case.machine.machine_arch, case.machine.system_info) == ("64bit", "Linux - 6.1")
    assert report.header.scm_ref == "abc123"
    assert report.header.started_at == datetime(2026, 11, 20, 10, 0, 0, 500_000, tzinfo=UTC)
    assert report.header.properties == {"branch": "main", "project": "sums"}


def test_what_is_unknown_is_none_and_said(tmp_path: Path) -> None:
    """No commit, no zone, no median, no statistics, a row without a name."""
    stats = {"median": float("nan"), "mean": 0.5}
    rows = [
        {"name": "a", "fullname": "a.py::a", "stats": stats},
        {"name": "b", "fullname": "b.py::b", "stats": {"min": None}},
        {"name": "c", "fullname": "c.py::c", "stats": None},
        {"fullname": "d.py::d"},
    ]
    report, cases = read(
        tmp_path, document(benchmarks=rows, commit_info={"id": "unversioned"}, datetime="2015-08-14T16:03:46")
    )
    assert [case.total_time for case in cases] == [0.5, None, None]
    assert [case.outcome for case in cases] == [CaseOutcome.PASSED, CaseOutcome.PASSED, CaseOutcome.FAILED]
    assert [[remark.kind for remark in case.remarks] for case in cases] == [["replaced time"], ["unread time"], []]
    assert (report.header.scm_ref, report.header.started_at) == (None, datetime(2015, 8, 14, 16, 3, 46, tzinfo=UTC))
    assert [remark.kind for remark in report.header.remarks] == ["unread row"]


def test_a_document_without_benchmarks_is_refused(tmp_path: Path) -> None:
    """The reason names the field."""
    with pytest.raises(InvalidInput, match="benchmarks"):
        read(tmp_path, {"machine_info": {}})
