"""The result files of asv."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from smartmob.metrics.report_files.asv import AsvReport
from smartmob.metrics.report_files.report import Case, CaseOutcome

PARAMS = {
    "arch": "x86_64", "cpu": "A CPU", "machine": "rack7", "num_cpu": "8", "os": "Linux 6.1", "ram": "16777216000",
    "python": "3.12", "numpy": "2.1",
}  # fmt: skip
COLUMNS = ["result", "params", "version", "started_at", "duration", "stats_ci_99_a", "samples"]


def read(tmp_path: Path, results: dict[str, Any], version: int = 2, **changes: Any) -> tuple[AsvReport, list[Case]]:
    """Return the report and the cases of some results."""
    document: dict[str, Any] = {
        "commit_hash": "abc123", "date": 1_700_000_000_000, "params": PARAMS, "python": "3.12",
        "requirements": {"numpy": "2.1"}, "results": results, "version": version,
    }  # fmt: skip
    if version == 2:
        document["result_columns"] = COLUMNS
    path = tmp_path / "x.json"
    path.write_text(json.dumps(document | changes))
    assert AsvReport.looks_like(path.read_bytes())
    report = AsvReport(path)
    return report, list(report.cases())


def test_results_of_format_2_are_read_by_their_columns(tmp_path: Path) -> None:
    """Each combination of parameters is a case; the last parameter changes first."""
    values = [1.0, 2.0, None, float("nan")]
    report, cases = read(
        tmp_path,
        {
            "sums.Suite.time_add": [values, [["1", "2"], ["'a'", "'b'"]], "v1", 1_750_000_001_000, 3.0],
            "sums.time_plain": [[0.5], [], "v1", 1_750_000_000_000, 1.0],
        },
    )
    assert [(case.variant, case.total_time, case.outcome) for case in cases] == [
        ("time_add(1, 'a')", 1.0, CaseOutcome.PASSED),
        ("time_add(1, 'b')", 2.0, CaseOutcome.PASSED),
        ("time_add(2, 'a')", None, CaseOutcome.FAILED),
        ("time_add(2, 'b')", None, CaseOutcome.SKIPPED),
        ("time_plain", 0.5, CaseOutcome.PASSED),
    ]
    assert (cases[0].path, cases[0].name) == ("sums.Suite", "time_add")
    assert cases[0].started_at == datetime.fromtimestamp(1_750_000_001, UTC)
    assert (report.header.scm_ref, report.header.started_at) == ("abc123", datetime.fromtimestamp(1_750_000_000, UTC))
    assert (report.header.properties, report.header.remarks) == ({"numpy": "2.1"}, [])
    machine = cases[0].machine
    assert (machine.node, machine.cpu_count, machine.ram_total_mb) == ("rack7", 8, 16000)
    assert (machine.cpu_vendor, machine.python_info) == ("A CPU", "3.12, numpy 2.1")


def test_results_of_format_1_are_numbers_or_objects(tmp_path: Path) -> None:
    """The date of the commit stands for a missing time of the run, and that is said."""
    report, cases = read(
        tmp_path,
        {
            "sums.time_plain": 0.5,
            "sums.time_bad": None,
            "sums.time_two": {"params": [["1", "2", "3"]], "result": [1.0, 2.0]},
            "sums.time_none": {"params": [["1", "2"]], "result": None},
        },
        version=1,
        params=PARAMS | {"ram": "8.2G"},
    )
    assert [(case.variant, case.total_time) for case in cases] == [
        ("time_plain", 0.5), ("time_bad", None), ("time_two(1)", 1.0), ("time_two(2)", 2.0),
        ("time_none(1)", None), ("time_none(2)", None),
    ]  # fmt: skip
    assert cases[0].machine.ram_total_mb == 8396
    assert report.header.started_at == datetime.fromtimestamp(1_700_000_000, UTC)
    assert {remark.kind for remark in report.header.remarks} == {"replaced timestamp", "missing result"}


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("time_x", 0.5, (0.5, None, [])),
        ("timeraw_x", 0.5, (0.5, None, [])),
        ("peakmem_x", 52 * 2**20, (None, 52.0, [])),
        ("mem_x", 2**10, (None, 2**-10, [])),
        ("track_x", 42, (None, None, ["other measure"])),
        ("time_x", "fast", (None, None, ["unread time"])),
    ],
)
def test_the_name_of_a_benchmark_tells_what_it_measures(
    tmp_path: Path, name: str, value: Any, expected: tuple[float | None, float | None, list[str]]
) -> None:
    """Times are seconds and memory is bytes; a measure of another kind has no field, and that is said."""
    _, (case,) = read(tmp_path, {f"sums.{name}": value}, version=1)
    assert (case.total_time, case.mem_usage, [remark.kind for remark in case.remarks]) == expected


@pytest.mark.parametrize(
    ("name", "time", "memory"),
    [
        ("sums.TimeSort", 2.0**20, None),
        ("sums.TimerawImport", 2.0**20, None),
        ("sums.MemList", None, 1.0),
        ("sums.PeakMem_List", None, 1.0),
        ("sums.Timetable", None, None),
        ("sums.TrackCount", None, None),
    ],
)
def test_the_types_of_camel_case_names_are_those_of_asv(
    tmp_path: Path, name: str, time: float | None, memory: float | None
) -> None:
    """A type is followed by a capital or an underscore."""
    _, (case,) = read(tmp_path, {name: [[2.0**20], []]})
    assert (case.total_time, case.mem_usage) == (time, memory)


@pytest.mark.parametrize(
    ("ram", "mb"), [("16164140", None), ("16777216000", 16000), ("16164140K", 15785), ("0.1G", 102)]
)
def test_a_memory_without_a_unit_that_is_too_small_is_unknown(tmp_path: Path, ram: str, mb: int | None) -> None:
    """Older files have kilobytes, later ones bytes; a machine with 16 MB would be another machine."""
    _, (case,) = read(tmp_path, {"sums.time_a": [[1.0], []]}, params=PARAMS | {"ram": ram})
    assert case.machine.ram_total_mb == mb
