"""Reads the estimates of Criterion.rs: one file, or all below a folder such as `target/criterion`."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from smartmob.errors import InvalidInput
from smartmob.metrics.model import BENCHMARK
from smartmob.metrics.report_files import json_document
from smartmob.metrics.report_files.json_document import seconds, text
from smartmob.metrics.report_files.report import Case, CaseOutcome, Header, Remark

ESTIMATES = "estimates.json"
LATEST = "new"
"""The folder of the latest run of a benchmark; the folders `base` and `change` beside it are about earlier runs."""
_CHANGE = "change"
_FOLDERS = {LATEST, "base", _CHANGE, "report"}
_FILES = {ESTIMATES, "benchmark.json", "sample.json", "tukey.json"}

_NANOSECOND = 1e-9


class _Estimates(msgspec.Struct):
    """The estimates in nanoseconds; releases before 0.3.3 wrote their names with capitals."""

    mean: Any = None
    slope: Any = None
    Mean: Any = None
    Slope: Any = None


class _BenchmarkName(msgspec.Struct):
    group_id: Any = None
    function_id: Any = None
    value_str: Any = None
    full_id: Any = None


def estimate_files(folder: Path) -> list[Path]:
    """Return the estimates of the latest run of each benchmark below a folder, in the order of their paths."""
    return sorted(path for path in folder.rglob(ESTIMATES) if path.parent.name == LATEST)


def is_beside_estimates(path: Path) -> bool:
    """Return whether a file of Criterion.rs is another one than the estimates of the latest run of a benchmark."""
    folder, name = path.parent.name, path.name
    return folder in _FOLDERS and name in _FILES and (folder, name) != (LATEST, ESTIMATES)


class CriterionReport:
    """Benchmarks with Criterion's typical time: the slope of the regression, or the mean if there is no slope."""

    format_name = "Criterion estimates"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.header = Header()

    @staticmethod
    def looks_like(head: bytes) -> bool:
        """Return whether a file that begins with `head` is of this format."""
        return b'"confidence_interval"' in head and b'"point_estimate"' in head

    def cases(self) -> Iterator[Case]:
        """Yield the benchmarks. Raises InvalidInput if none can be read."""
        folder = self._path.is_dir()
        files = estimate_files(self._path) if folder else [self._path]
        self.header = Header(suites=len(files))
        for file in files:
            try:
                yield self._case(file)
            except (InvalidInput, OSError) as error:
                if not folder:
                    raise
                self.header.remarks.append(Remark("unread file", f"{file}: {error}"))

    def _case(self, file: Path) -> Case:
        if file.parent.name == _CHANGE:
            raise InvalidInput(
                f"has the change since an earlier run and no time: import {LATEST}/{ESTIMATES} beside it"
            )
        found = json_document.read(file, _Estimates)
        benchmark = self._benchmark(file)
        group, function = text(benchmark.group_id), text(benchmark.function_id)
        full = text(benchmark.full_id) or "/".join(file.parts[-4:-2])
        took = _point(found.slope or found.Slope)
        if took is None:
            took = _point(found.mean or found.Mean)
        remarks = () if took is not None else (Remark("unread time", f"{full} has neither a slope nor a mean"),)
        return Case(
            path=group or full.partition("/")[0],
            name=function or group or full,
            variant=full,
            outcome=CaseOutcome.PASSED,
            total_time=took,
            # Criterion writes no time, but it writes the file at the end of each benchmark.
            started_at=datetime.fromtimestamp(file.stat().st_mtime, UTC),
            kind=BENCHMARK,
            remarks=remarks,
        )

    def _benchmark(self, file: Path) -> _BenchmarkName:
        """Return the description beside the estimates; without it the folders give the name."""
        beside = file.with_name("benchmark.json")
        try:
            return json_document.read(beside, _BenchmarkName)
        except (InvalidInput, OSError):
            said = "the names of its folders were taken, because benchmark.json is missing or damaged"
            self.header.remarks.append(Remark("replaced name", f"{file}: {said}"))
            return _BenchmarkName()


def _point(estimate: Any) -> float | None:
    return seconds(estimate.get("point_estimate"), _NANOSECOND) if isinstance(estimate, dict) else None
