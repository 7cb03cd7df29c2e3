"""Reads the text of `go test -bench`, and the events of `go test -json -bench`."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from smartmob.metrics.model import BENCHMARK, BYTES_PER_MB
from smartmob.metrics.report_files import json_document
from smartmob.metrics.report_files.json_document import as_utf8, number, seconds, text
from smartmob.metrics.report_files.report import Case, CaseOutcome, Header, Remark, ReportedMachine

_LONGEST_LINE = 1024 * 1024  # bytes; the rest of a longer line is dropped
_NAME = r"Benchmark(?:[^a-z\s]\S*)?"
_RESULT = re.compile(rf"^(?P<name>{_NAME})\s+(?P<runs>[0-9]+)\s+(?P<values>\S.*)$")
_NAME_ONLY = re.compile(rf"^(?P<name>{_NAME})(?:\s+\D.*|\s*)$")
_VALUES_ONLY = re.compile(r"^\s*(?P<runs>[0-9]+)\s+(?P<values>[0-9.eE+-]+ \S+/op.*)$")
_ENDED = re.compile(rf"--- (?P<how>FAIL|SKIP): (?P<name>{_NAME})")
_CONFIGURATION = re.compile(r"^(?P<key>[a-z][^\sA-Z:]*):\s*(?P<value>.*)$")
_PROCESSORS = re.compile(r"-[0-9]+$")
_TIME_UNITS = {"ns/op": 1e-9, "sec/op": 1.0, "s/op": 1.0, "ms/op": 1e-3, "us/op": 1e-6, "µs/op": 1e-6}
_BYTES_UNIT = "B/op"
_DERIVED_UNITS = {"MB/s", "allocs/op"}
"""Units of values that have no field, and that `go test` itself writes."""

_LOOKS_LIKE = re.compile(
    rb'^(?:Benchmark\S*\s+[0-9]+\s|goos: \w|\{.*"Action":\s*"(?:start|run|output|build-output|pass|fail|skip|bench)")',
    re.MULTILINE,
)


class _GoEvent(msgspec.Struct):
    """A line of `go test -json`."""

    Time: Any = None
    Package: Any = None
    Output: Any = None


class GoBenchmarkReport:
    """Benchmarks of Go packages; with `-count` each line is an execution."""

    format_name = "go test -bench"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.header = Header()
        self._machine: dict[str, str] = {}
        self._package = ""
        self._packages: set[str] = set()
        self._pending: dict[str, str] = {}

    @staticmethod
    def looks_like(head: bytes) -> bool:
        """Return whether a file that begins with `head` is of this format."""
        return _LOOKS_LIKE.search(head) is not None

    def cases(self) -> Iterator[Case]:
        """Yield the executions."""
        self.header = Header()
        self._machine, self._package, self._packages, self._pending = {}, "", set(), {}
        for package, line in self._lines():
            if package is not None and package != self._package:
                self._enter(package)
            yield from self._read(line.rstrip("\r\n"))

    def _enter(self, package: str) -> None:
        self._package = package
        self._packages.add(package)
        self.header.suites = len(self._packages)

    def _lines(self) -> Iterator[tuple[str | None, str]]:
        """Yield the lines of output, each with its package if the file consists of events."""
        unfinished: dict[str, str] = {}
        for line in self._raw_lines():
            event = json_document.row(msgspec.Raw(line), _GoEvent) if line.lstrip().startswith(b"{") else None
            if event is None:
                yield None, line.decode("utf-8", "replace")
                continue
            if self.header.started_at is None:
                self.header.started_at = json_document.moment(event.Time)
            if isinstance(event.Output, str):
                # The name of a benchmark and its result are often two events of one line.
                package = text(event.Package) or ""
                *lines, rest = (unfinished.pop(package, "") + event.Output).split("\n")
                yield from ((package, whole) for whole in lines)
                if rest:
                    unfinished[package] = rest[-_LONGEST_LINE:]
        yield from ((package or None, rest) for package, rest in unfinished.items())

    def _raw_lines(self) -> Iterator[bytes]:
        with self._path.open("rb") as file:
            start = file.read(4)
            if as_utf8(start) != start:  # a byte order mark
                yield from json_document.read_bytes(self._path).splitlines()
                return
            file.seek(0)
            while line := file.readline(_LONGEST_LINE):
                yield line
                while not line.endswith(b"\n") and (line := file.readline(_LONGEST_LINE)):
                    pass

    def _read(self, line: str) -> Iterator[Case]:
        if (ended := _ENDED.search(line)) is not None:
            self._pending.pop(self._package, None)
            outcome = CaseOutcome.FAILED if ended["how"] == "FAIL" else CaseOutcome.SKIPPED
            yield self._case(ended["name"], outcome)
        elif (result := _RESULT.match(line)) is not None:
            self._pending.pop(self._package, None)
            yield self._measured(result["name"], result["values"])
        elif self._package in self._pending and (values := _VALUES_ONLY.match(line)) is not None:
            # The benchmark wrote something between its name and its result.
            yield self._measured(self._pending.pop(self._package), values["values"])
        elif (name := _NAME_ONLY.match(line)) is not None:
            self._pending[self._package] = name["name"]
        elif (setting := _CONFIGURATION.match(line)) is not None:
            self._configure(setting["key"], setting["value"].strip())

    def _configure(self, key: str, value: str) -> None:
        if key == "pkg":
            if value != self._package:
                self._enter(value)
        elif key in ("goos", "goarch", "cpu"):
            self._machine[key] = value
        elif key == "commit" and value:
            self.header.scm_ref = value

    def _measured(self, name: str, values: str) -> Case:
        words = values.split()
        measures = dict(zip(words[1::2], words[::2], strict=False))
        unit = next((unit for unit in _TIME_UNITS if unit in measures), None)
        took = None if unit is None else seconds(measures[unit], _TIME_UNITS[unit])
        size = number(measures.get(_BYTES_UNIT))
        remarks = []
        others = measures.keys() - _TIME_UNITS.keys() - _DERIVED_UNITS - {_BYTES_UNIT}
        if took is None:
            remarks.append(Remark("unread time", f"{name}: {values[:80]}"))
        elif others:
            remarks.append(Remark("other measure", f"{name}: {', '.join(sorted(others))[:80]}"))
        memory = None if size is None or size < 0 else size / BYTES_PER_MB
        return self._case(name, CaseOutcome.PASSED, took, memory, tuple(remarks))

    def _case(
        self,
        name: str,
        outcome: CaseOutcome,
        took: float | None = None,
        memory: float | None = None,
        remarks: tuple[Remark, ...] = (),
    ) -> Case:
        base, slash, _ = name.partition("/")
        return Case(
            path=self._package,
            name=base if slash else _PROCESSORS.sub("", base),
            variant=name,
            outcome=outcome,
            total_time=took,
            kind=BENCHMARK,
            mem_usage=memory,
            machine=ReportedMachine(
                cpu_vendor=self._machine.get("cpu"),
                machine_type=self._machine.get("goarch"),
                system_info=self._machine.get("goos"),
            ),
            remarks=remarks,
        )
