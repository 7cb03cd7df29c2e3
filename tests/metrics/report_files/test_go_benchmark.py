"""The text and the events of `go test -bench`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smartmob.metrics.report_files.go_benchmark import GoBenchmarkReport
from smartmob.metrics.report_files.report import Case, CaseOutcome

TEXT = """goos: linux
goarch: amd64
pkg: example.com/sums
cpu: A CPU @ 2.60GHz
BenchmarkAdd-8   \t 5000000\t       325 ns/op
BenchmarkAdd-8   \t 5000000\t     330.5 ns/op\t      48 B/op\t       2 allocs/op
BenchmarkAdd/size=10/x-y-8         \t  30000\t   40537.123 ns/op\t 12.5 MB/s
BenchmarkOdd \t 1000000 \t 3.000 widgets
BenchmarkNoise-8 \tsome log
more log
   1000\t    1500 ns/op
BenchmarkBroken-8
--- FAIL: BenchmarkBroken-8
    x_test.go:3: no
--- SKIP: BenchmarkLeft
--- BENCH: BenchmarkAdd-8
Benchmarks are great 100 x
PASS
ok  \texample.com/sums\t3.614s
pkg: example.com/other
BenchmarkAdd \t 10 \t 1e+03 ns/op
"""


def read(path: Path, content: str | bytes) -> tuple[GoBenchmarkReport, list[Case]]:
    """Return the report and the cases of a file."""
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    report = GoBenchmarkReport(path)
    cases = list(report.cases())
    assert list(report.cases()) == cases
    return report, cases


def test_each_line_of_a_result_is_an_execution(tmp_path: Path) -> None:
    """With its package, machine, time and memory; the suffix of the processors is no part of the test's name."""
    assert GoBenchmarkReport.looks_like(TEXT.encode())
    report, cases = read(tmp_path / "x", TEXT)
    assert [(case.name, case.variant, case.total_time) for case in cases] == [
        ("BenchmarkAdd", "BenchmarkAdd-8", pytest.approx(325e-9)),
        ("BenchmarkAdd", "BenchmarkAdd-8", pytest.approx(330.5e-9)),
        ("BenchmarkAdd", "BenchmarkAdd/size=10/x-y-8", pytest.approx(40537.123e-9)),
        ("BenchmarkOdd", "BenchmarkOdd", None),
        ("BenchmarkNoise", "BenchmarkNoise-8", pytest.approx(1.5e-6)),
        ("BenchmarkBroken", "BenchmarkBroken-8", None),
        ("BenchmarkLeft", "BenchmarkLeft", None),
        ("BenchmarkAdd", "BenchmarkAdd", pytest.approx(1e-6)),
    ]
    assert [case.outcome for case in cases[5:7]] == [CaseOutcome.FAILED, CaseOutcome.SKIPPED]
    assert (cases[0].mem_usage, cases[1].mem_usage) == (None, 48 * 2**-20)
    assert [remark.kind for remark in cases[3].remarks] == ["unread time"]
    assert {case.path for case in cases} == {"example.com/sums", "example.com/other"}
    machine = cases[0].machine
    assert (machine.machine_type, machine.system_info, machine.cpu_vendor) == ("amd64", "linux", "A CPU @ 2.60GHz")
    assert report.header.suites == 2


@pytest.mark.parametrize("encoding", ["utf-16", "utf-8-sig"])
def test_the_encodings_of_powershell_are_read(tmp_path: Path, encoding: str) -> None:
    """Its line ends too."""
    _, cases = read(tmp_path / "x", TEXT.replace("\n", "\r\n").encode(encoding))
    assert len(cases) == 8


def test_events_of_several_packages_are_joined_to_lines(tmp_path: Path) -> None:
    """A name and its result are often two events, and those of another package may come between them."""
    events = [
        ("a", "goos: linux\n"), ("a", "BenchmarkAdd-4 \t"), ("b", "BenchmarkAdd-4 \t"), ("a", "100\t 5 ns/op\n"),
        ("b", "200\t 7 ns/op\n"), ("b", "BenchmarkLast-4 1 3 ns/op"),
    ]  # fmt: skip
    lines = [
        json.dumps({"Time": f"2026-11-20T10:00:0{n}.5Z", "Action": "output", "Package": package, "Output": output})
        for n, (package, output) in enumerate(events)
    ]
    content = "\n".join([json.dumps({"Action": "start", "Package": "a"}), *lines])
    assert GoBenchmarkReport.looks_like(content.encode())

    report, cases = read(tmp_path / "x", content)

    assert [(case.path, case.variant, case.total_time) for case in cases] == [
        ("a", "BenchmarkAdd-4", pytest.approx(5e-9)),
        ("b", "BenchmarkAdd-4", pytest.approx(7e-9)),
        ("b", "BenchmarkLast-4", pytest.approx(3e-9)),
    ]
    assert report.header.started_at == datetime(2026, 11, 20, 10, 0, 0, 500_000, tzinfo=UTC)


def test_a_long_line_is_cut_and_other_measures_are_told(tmp_path: Path) -> None:
    """Memory stays bounded; a measure without a field is a remark."""
    _, cases = read(tmp_path / "x", "x" * 3_000_000 + "\nBenchmarkA 1 2 ns/op 3 widgets\nBenchmarkB 1 -2 ns/op\n")
    assert [case.total_time for case in cases] == [pytest.approx(2e-9), None]
    assert [remark.kind for case in cases for remark in case.remarks] == ["other measure", "unread time"]


def test_the_commit_of_a_benchfmt_file_is_read(tmp_path: Path) -> None:
    """Configuration lines of Go's benchmark format name it."""
    report, _ = read(tmp_path / "x", "commit: 7cd9055\nBenchmarkA 1 2 ns/op\n")
    assert report.header.scm_ref == "7cd9055"


@pytest.mark.parametrize(
    ("lines", "found"),
    [
        ("BenchmarkGet-8   \t3 keys loaded\n 1000000\t      1034 ns/op\n", [("BenchmarkGet-8", 1.034e-6)]),
        ("BenchmarkPut-8   \t 100% done    5000\t      2000 ns/op\n", [("BenchmarkPut-8", 2e-6)]),
        ("BenchmarkPut-8 \tloading 7 of 9\ndone 50 2 ns/op 8 B/op\n", [("BenchmarkPut-8", 2e-9)]),
        ("Benchmarkuber_zap_total 1 50 ns/op\nBenchmarks are great 100 x\n", [("Benchmarkuber_zap_total", 5e-8)]),
        ("BenchmarkA \nBenchmarkA/b \nBenchmarkA/b-8 1 5 ns/op\n", [("BenchmarkA/b-8", 5e-9)]),
        ("BenchmarkNaN 1 NaN ns/op +Inf MB/s\n", [("BenchmarkNaN", None)]),
    ],
)
def test_text_of_a_benchmark_hides_no_result(tmp_path: Path, lines: str, found: list[tuple[str, float | None]]) -> None:
    """It stands between the name and the result, in the same line or not, and can begin with a number."""
    report, cases = read(tmp_path / "x", lines)
    assert [(case.variant, case.total_time) for case in cases] == [
        (name, None if took is None else pytest.approx(took)) for name, took in found
    ]
    assert report.header.remarks == []


CRASH = """pkg: example.com/a
BenchmarkGood-2 \t 2354 \t 100 ns/op
BenchmarkLong-2 \tpanic: test timed out after 30m0s

goroutine 1022 [running]:
exit status 2
FAIL\texample.com/a\t1800.1s
FAIL
FAIL\texample.com/b [build failed]
pkg: example.com/c
BenchmarkGood-2 \t 2354 \t 100 ns/op
"""


@pytest.mark.parametrize("events", [False, True])
def test_a_benchmark_that_crashed_has_failed(tmp_path: Path, events: bool) -> None:
    """A panic or the time limit ends the process before the result; a package can fail without any benchmark."""
    content = CRASH
    if events:
        package = {"Package": "example.com/a"}
        content = "\n".join(
            json.dumps(event)
            for event in [
                *({"Action": "output", "Output": line + "\n", **package} for line in CRASH.splitlines()[:8]),
                {"Action": "fail", "Test": "BenchmarkLong", **package},
                {"Action": "fail", **package},
                {"Action": "fail", "Package": "example.com/b"},
            ]
        )
    report, cases = read(tmp_path / "x", content)
    assert [(case.path, case.variant, case.outcome) for case in cases] == [
        ("example.com/a", "BenchmarkGood-2", CaseOutcome.PASSED),
        *([] if events else [("example.com/c", "BenchmarkGood-2", CaseOutcome.PASSED)]),
        ("example.com/a", "BenchmarkLong-2", CaseOutcome.FAILED),
    ]
    assert [remark.text for remark in report.header.remarks] == [
        "example.com/a 1800.1s",
        "example.com/b" if events else "example.com/b [build failed]",
    ]


def test_a_name_without_a_result_is_a_remark(tmp_path: Path) -> None:
    """The value that the file does not have is not lost silently."""
    report, cases = read(tmp_path / "x", "BenchmarkA-8 \tsome text\nBenchmarkB-8 1 5 ns/op\nBenchmarkC-8 x\n")
    assert [case.variant for case in cases] == ["BenchmarkB-8"]
    assert [remark.text.partition(" ")[0] for remark in report.header.remarks] == ["BenchmarkA-8", "BenchmarkC-8"]
