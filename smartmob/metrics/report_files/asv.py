"""Reads the result files of asv (airspeed velocity), of its formats 1 and 2: one commit on one machine."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from smartmob.metrics.model import BENCHMARK, BYTES_PER_MB
from smartmob.metrics.report_files import json_document
from smartmob.metrics.report_files.json_document import NOT_A_NUMBER, number, seconds, text, whole
from smartmob.metrics.report_files.report import Case, CaseOutcome, Header, Remark, ReportedMachine

_MOST_COMBINATIONS = 1_000_000
"""Combinations of the parameters of one benchmark that are read."""

_MACHINE_PARAMS = {"arch", "cpu", "machine", "num_cpu", "os", "python", "ram"}
"""The keys of `params` that describe the machine; the others are versions of packages."""

_RAM_UNITS = {"": 1.0, "K": 2.0**10, "M": 2.0**20, "G": 2.0**30, "T": 2.0**40}
_LEAST_RAM = 128 * 2**20
"""Bytes of memory of a machine below which a number without a unit is unknown: asv once wrote kilobytes, now bytes."""
_TIME = re.compile(r"time|Time(?:raw)?[A-Z_]")
_MEMORY = re.compile(r"(?:peak)?mem_|(?:Peak)?Mem[A-Z_]")
"""The beginnings of names by which asv distinguishes types of benchmarks (its manual, "Benchmark types")."""
_RAM = re.compile(r"([0-9.]+)\s*([KMGT]?)i?B?", re.IGNORECASE)


class _CommitResults(msgspec.Struct):
    results: dict[str, Any]
    commit_hash: str | None = None
    date: Any = None
    params: dict[str, Any] | None = None
    python: Any = None
    requirements: dict[str, Any] | None = None
    result_columns: list[str] | None = None
    started_at: dict[str, Any] | None = None


class _BenchmarkResult(msgspec.Struct):
    """The values of one benchmark, one for each combination of its parameters."""

    values: Any = None
    params: Any = None
    started_at: datetime | None = None


class AsvReport:
    """The summarised results of a commit: asv's own value, which is the median of the samples for times."""

    format_name = "asv results"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.header = Header()

    @staticmethod
    def looks_like(head: bytes) -> bool:
        """Return whether a file that begins with `head` is of this format."""
        return b'"commit_hash"' in head and (b'"result_columns"' in head or b'"requirements"' in head)

    def cases(self) -> Iterator[Case]:
        """Yield a case for each combination of parameters of each benchmark. Raises InvalidInput."""
        document = json_document.read(self._path, _CommitResults)
        results = {name: _result(document, name, given) for name, given in document.results.items()}
        self.header = _header(document, [result.started_at for result in results.values()])
        machine = _machine(document)
        for name, result in results.items():
            for parameters, value in self._values(name, result):
                yield _case(name, parameters, value, result.started_at, machine)

    def _values(self, name: str, result: _BenchmarkResult) -> Iterator[tuple[str, Any]]:
        """Yield the parameters and the value of each combination; asv numbers them with the last parameter first."""
        levels = result.params if isinstance(result.params, list) else []
        levels = [level for level in levels if isinstance(level, list)]
        if not levels:
            yield "", result.values[0] if isinstance(result.values, list) and result.values else result.values
            return
        values = result.values if isinstance(result.values, list) else None
        combinations = itertools.islice(itertools.product(*levels), _MOST_COMBINATIONS)
        for position, combination in enumerate(combinations):
            if values is not None and position >= len(values):
                said = f"{name} has {len(values)} results for more combinations of parameters"
                self.header.remarks.append(Remark("missing result", said))
                return
            yield "(" + ", ".join(map(str, combination)) + ")", None if values is None else values[position]


def _result(document: _CommitResults, name: str, given: Any) -> _BenchmarkResult:
    """Return the results of one benchmark: a number or an object in format 1, a list with columns in format 2."""
    if isinstance(given, dict):
        found = given
    elif document.result_columns is not None and isinstance(given, list):
        found = dict(zip(document.result_columns, given, strict=False))
    else:
        found = {"result": given}
    started = found.get("started_at") or (document.started_at or {}).get(name)
    return _BenchmarkResult(found.get("result"), found.get("params"), json_document.moment_of_ms(started))


def _case(name: str, parameters: str, value: Any, started_at: datetime | None, machine: ReportedMachine) -> Case:
    path, _, item = name.rpartition(".")
    remarks, took, memory = [], None, None
    if value is None:
        outcome = CaseOutcome.FAILED
    elif value == NOT_A_NUMBER:
        outcome = CaseOutcome.SKIPPED
    else:
        outcome = CaseOutcome.PASSED
        if _TIME.match(item):
            took = seconds(value)
        elif _MEMORY.match(item) and (size := number(value)) is not None and size >= 0:
            memory = size / BYTES_PER_MB
        if took is None and memory is None:
            kind = "other measure" if item.lower().startswith("track") else "unread time"
            remarks.append(Remark(kind, f"{name}{parameters} = {str(value)[:80]} is neither a time nor a memory"))
    return Case(
        path=path,
        name=item,
        variant=item + parameters,
        outcome=outcome,
        total_time=took,
        started_at=started_at,
        kind=BENCHMARK,
        mem_usage=memory,
        machine=machine,
        remarks=tuple(remarks),
    )


def _header(document: _CommitResults, given_starts: Iterable[datetime | None]) -> Header:
    """Return the header; without a start of any benchmark, the commit's date is the start of the run."""
    starts = [start for start in given_starts if start is not None]
    header = Header(
        suites=len(document.results),
        scm_ref=text(document.commit_hash),
        started_at=min(starts, default=None),
        properties=_packages(document),
    )
    if not starts:
        header.started_at = json_document.moment_of_ms(document.date)
        remark = Remark("replaced timestamp", "the file has no time of the run; the date of the commit was taken")
        header.remarks.append(remark)
    return header


def _packages(document: _CommitResults) -> dict[str, str]:
    """Return the packages of the environment with their versions."""
    given: Mapping[str, Any] = document.requirements or {}
    others = {key: value for key, value in (document.params or {}).items() if key not in _MACHINE_PARAMS}
    return {key: found for key, value in {**others, **given}.items() if (found := text(value)) is not None}


def _machine(document: _CommitResults) -> ReportedMachine:
    params = document.params or {}
    python = text(document.python) or text(params.get("python"))
    packages = [f"{name} {version}" for name, version in sorted(_packages(document).items())]
    return ReportedMachine(
        node=text(params.get("machine")),
        cpu_count=whole(params.get("num_cpu")),
        cpu_vendor=text(params.get("cpu")),
        ram_total_mb=_ram(params.get("ram")),
        machine_type=text(params.get("arch")),
        system_info=text(params.get("os")),
        python_info=_listed([python, *packages]),
    )


def _listed(parts: Sequence[str | None]) -> str | None:
    return ", ".join(part for part in parts if part) or None


def _ram(value: Any) -> int | None:
    """Return a size such as "8.2G", or a number of bytes, in MiB."""
    found = _RAM.fullmatch(str(value).strip()) if isinstance(value, str | int | float) else None
    size = None if found is None else number(found[1])
    if found is None or size is None:
        return None
    if not found[2] and size < _LEAST_RAM:
        return None
    return whole(size * _RAM_UNITS[found[2].upper()] / BYTES_PER_MB)
