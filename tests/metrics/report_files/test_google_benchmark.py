"""The JSON of Google Benchmark."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from smartmob.metrics.report_files.google_benchmark import GoogleBenchmarkReport
from smartmob.metrics.report_files.report import Case, CaseOutcome

CONTEXT = {
    "date": "2026-11-20T12:00:00+02:00",
    "host_name": "rack7",
    "executable": "./build/sums",
    "num_cpus": 8,
    "mhz_per_cpu": 3598,
    "library_build_type": "release",
}


def read(tmp_path: Path, *rows: dict[str, Any]) -> tuple[GoogleBenchmarkReport, list[Case]]:
    """Return the report and the cases of some rows."""
    path = tmp_path / "x.json"
    path.write_text(json.dumps({"context": CONTEXT, "benchmarks": rows}))
    assert GoogleBenchmarkReport.looks_like(path.read_bytes())
    report = GoogleBenchmarkReport(path)
    return report, list(report.cases())


def row(name: str = "BM_Sum/8", **changes: Any) -> dict[str, Any]:
    """Return an execution."""
    found = {"name": name, "run_name": name, "run_type": "iteration", "iterations": 9, "real_time": 4.0}
    return found | {"cpu_time": 2.0, "time_unit": "ns"} | changes


def aggregate(kind: str, **changes: Any) -> dict[str, Any]:
    """Return an aggregate of the repetitions of a benchmark."""
    return row(f"BM_Sum/8_{kind}", run_name="BM_Sum/8", run_type="aggregate", aggregate_name=kind, **changes)


@pytest.mark.parametrize(("unit", "expected"), [("ns", 4e-9), ("us", 4e-6), ("ms", 4e-3), ("s", 4.0), (None, 4e-9)])
def test_times_are_seconds(tmp_path: Path, unit: str | None, expected: float) -> None:
    """Without a unit they are nanoseconds."""
    report, (case,) = read(tmp_path, row(time_unit=unit))
    assert case.total_time == pytest.approx(expected)
    assert case.cpu_usage == pytest.approx(0.5)
    assert (case.path, case.name, case.variant) == ("sums", "BM_Sum", "BM_Sum/8")
    assert (case.machine.node, case.machine.cpu_count, case.machine.cpu_frequency_mhz) == ("rack7", 8, 3598)
    assert report.header.started_at == datetime.fromisoformat("2026-11-20T12:00:00+02:00")
    assert report.header.properties == {"library_build_type": "release"}


def test_each_repetition_is_an_execution_and_aggregates_are_none(tmp_path: Path) -> None:
    """Aggregates, complexities and their names of old releases are no tests."""
    _, cases = read(
        tmp_path,
        row(repetition_index=0),
        row(repetition_index=1, real_time=6.0),
        *(aggregate(kind) for kind in ("mean", "median", "stddev")),
        aggregate("cv", aggregate_unit="percentage"),
        {"name": "BM_Sum_BigO", "cpu_coefficient": 1.0, "big_o": "N", "time_unit": "ns"},
        {"name": "BM_Sum_RMS", "rms": 0.1},
        {"name": "BM_Sum/8_mean", "real_time": 5.0, "cpu_time": 5.0, "time_unit": "ns"},
    )
    assert [case.total_time for case in cases] == pytest.approx([4e-9, 6e-9])


@pytest.mark.parametrize(
    ("kinds", "expected"), [(("mean", "median", "stddev"), 2e-9), (("mean", "cv"), 1e-9), (("stddev",), None)]
)
def test_a_file_with_aggregates_only_gives_the_median(
    tmp_path: Path, kinds: tuple[str, ...], expected: float | None
) -> None:
    """Or the mean; a deviation is no time of the test."""
    times = {"mean": 1.0, "median": 2.0, "stddev": 3.0, "cv": 4.0}
    _, cases = read(tmp_path, *(aggregate(kind, real_time=times[kind]) for kind in kinds))
    assert [case.total_time for case in cases] == ([] if expected is None else pytest.approx([expected]))
    assert [case.variant for case in cases] == [] if expected is None else ["BM_Sum/8"]


def test_errors_are_failures_and_skips_are_skips(tmp_path: Path) -> None:
    """They have no time that counts."""
    _, cases = read(
        tmp_path,
        row(error_occurred=True, error_message="no", real_time=0.0),
        row(skipped=True, skip_message="not here"),
    )
    assert [case.outcome for case in cases] == [CaseOutcome.FAILED, CaseOutcome.SKIPPED]


def test_what_is_unknown_is_none_and_said(tmp_path: Path) -> None:
    """An unknown unit, a time that is no number, a row without a name; threads share the wall time."""
    report, cases = read(
        tmp_path,
        row(time_unit="fortnight"),
        row(real_time=float("nan")),
        {"real_time": 1.0},
        row(threads=2, max_bytes_used=3 * 2**20),
    )
    assert [case.total_time for case in cases] == [None, None, pytest.approx(4e-9)]
    assert [[remark.kind for remark in case.remarks] for case in cases] == [["unread time"], ["unread time"], []]
    assert (cases[2].cpu_usage, cases[2].mem_usage) == (None, 3.0)
    assert [remark.kind for remark in report.header.remarks] == ["unread row"]
