"""Reads the JSON of Google Benchmark (`--benchmark_out`, `--benchmark_format=json`)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec

from smartmob.metrics.model import BENCHMARK, BYTES_PER_MB
from smartmob.metrics.report_files import json_document
from smartmob.metrics.report_files.json_document import number, seconds, text, whole
from smartmob.metrics.report_files.report import Case, CaseOutcome, Header, Remark, ReportedMachine

_UNITS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0}
"""Seconds per `time_unit`; without one it is nanoseconds."""

_AGGREGATES = ("median", "mean")
"""The aggregates that replace the executions if a file has only aggregates, the best first."""

_OLD_SUFFIXES = ("_mean", "_median", "_stddev", "_cv", "_BigO", "_RMS")
"""The ends of the names of aggregates in releases before 1.5, which have no `run_type`."""


class _BenchmarkOutput(msgspec.Struct):
    benchmarks: list[msgspec.Raw]
    context: dict[str, Any] | None = None


class _BenchmarkRow(msgspec.Struct):
    name: str
    run_name: str | None = None
    run_type: str | None = None
    aggregate_name: str | None = None
    aggregate_unit: str | None = None
    real_time: Any = None
    cpu_time: Any = None
    time_unit: str | None = None
    error_occurred: bool = False
    error_message: str | None = None
    skipped: bool = False
    threads: Any = None
    max_bytes_used: Any = None
    big_o: Any = None
    rms: Any = None

    @property
    def test(self) -> str:
        """Return the name of the benchmark, without that of an aggregate."""
        if self.run_name is not None:
            return self.run_name
        suffix = (
            f"_{self.aggregate_name}" if self.aggregate_name else next(filter(self.name.endswith, _OLD_SUFFIXES), "")
        )
        return self.name.removesuffix(suffix) if self.is_aggregate else self.name

    @property
    def is_aggregate(self) -> bool:
        """Return whether the row summarises repetitions, or describes the complexity."""
        if self.run_type is not None:
            return self.run_type == "aggregate" and self.aggregate_name is not None
        return self.big_o is not None or self.rms is not None or self.name.endswith(_OLD_SUFFIXES)


class GoogleBenchmarkReport:
    """Benchmarks with the time of one iteration. Each repetition is an execution.

    A file with aggregates only (`--benchmark_report_aggregates_only`) gives the median of each benchmark.
    """

    format_name = "Google Benchmark JSON"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.header = Header()

    @staticmethod
    def looks_like(head: bytes) -> bool:
        """Return whether a file that begins with `head` is of this format."""
        if b'"context"' in head:
            return any(
                key in head for key in (b'"num_cpus"', b'"mhz_per_cpu"', b'"real_time"', b'"library_build_type"')
            )
        return b'"benchmarks"' in head and b'"real_time"' in head

    def cases(self) -> Iterator[Case]:
        """Yield the executions. Raises InvalidInput."""
        document = json_document.read(self._path, _BenchmarkOutput)
        context = document.context or {}
        self.header = Header(suites=1, started_at=json_document.moment(context.get("date")))
        machine = ReportedMachine(
            node=text(context.get("host_name")),
            cpu_count=whole(context.get("num_cpus")),
            cpu_frequency_mhz=number(context.get("mhz_per_cpu")),
        )
        build = text(context.get("library_build_type"))
        executable = text(context.get("executable")) or ""
        self.header.properties = {} if build is None else {"library_build_type": build}
        runs = []
        for position, raw in enumerate(document.benchmarks, 1):
            run = json_document.row(raw, _BenchmarkRow)
            if run is None:
                self.header.remarks.append(Remark("unread row", f"benchmark {position} cannot be read"))
            else:
                runs.append(run)
        for run in _executions(runs):
            yield _case(run, machine, executable)


def _executions(runs: Sequence[_BenchmarkRow]) -> Iterator[_BenchmarkRow]:
    """Yield the repetitions of each benchmark, or its best aggregate where there are none."""
    single = {run.test for run in runs if not run.is_aggregate}
    best: dict[str, _BenchmarkRow] = {}
    for run in runs:
        if run.is_aggregate and run.test not in single and (kind := _aggregate(run)) in _AGGREGATES:
            known = best.get(run.test)
            if known is None or _AGGREGATES.index(kind) < _AGGREGATES.index(_aggregate(known)):
                best[run.test] = run
    chosen = set(map(id, best.values()))
    for run in runs:
        if not run.is_aggregate or id(run) in chosen:
            yield run


def _aggregate(run: _BenchmarkRow) -> str:
    if run.aggregate_name is not None:
        return run.aggregate_name if run.aggregate_unit != "percentage" else ""
    return next(filter(run.name.endswith, _OLD_SUFFIXES), "").lstrip("_")


def _case(run: _BenchmarkRow, machine: ReportedMachine, executable: str) -> Case:
    name, remarks = run.test, []
    outcome = CaseOutcome.FAILED if run.error_occurred else CaseOutcome.SKIPPED if run.skipped else CaseOutcome.PASSED
    factor = _UNITS.get(run.time_unit or "ns")
    took, busy = None, None
    if factor is not None:
        took, busy = seconds(run.real_time, factor), seconds(run.cpu_time, factor)
    if outcome is CaseOutcome.PASSED and took is None:
        remarks.append(Remark("unread time", f"{name}: {run.real_time!r} {run.time_unit or 'ns'}"))
    one_thread = (whole(run.threads) or 1) == 1
    memory = number(run.max_bytes_used)
    return Case(
        path=executable.replace("\\", "/").rpartition("/")[2],
        name=name.partition("/")[0],
        variant=name,
        outcome=outcome,
        total_time=took,
        kind=BENCHMARK,
        cpu_usage=busy / took if took and busy is not None and one_thread else None,
        mem_usage=None if memory is None or memory < 0 else memory / BYTES_PER_MB,
        machine=machine,
        remarks=tuple(remarks),
    )
