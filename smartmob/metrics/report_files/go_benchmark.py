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
_NUMBER = r"[-+]?(?:[0-9.]+(?:[eE][-+]?[0-9]+)?|NaN|Inf)"
_PAIRS = rf"{_NUMBER}\s+\S+(?:\s+{_NUMBER}\s+\S+)*"  # values with their units
_RESULT = re.compile(rf"^(?P<name>Benchmark\S*)\s+[0-9]+\s+(?P<values>{_PAIRS})\s*$")
"""A complete result. `go test` runs only names with a capital, but benchfmt has others."""
_NAME_ONLY = re.compile(rf"^(?P<name>{_NAME})(?:\s+(?P<said>\S.*)|\s*)$")
_RESULT_AFTER_TEXT = re.compile(rf"(?:^|\s)[0-9]+\s+(?P<values>{_NUMBER}\s+\S+/op(?:\s+{_NUMBER}\s+\S+)*)\s*$")
"""The result of a benchmark that wrote something after its name."""
_ENDED = re.compile(rf"--- (?P<how>FAIL|SKIP): (?P<name>{_NAME})")
_CRASHED = re.compile(r"^(?:panic: |fatal error: |signal: |\*\*\* Test killed)")
_FAILED_PACKAGE = re.compile(r"^FAIL\s+(?P<package>\S+)\s+(?P<how>\S.*)$")
_CONFIGURATION = re.compile(r"^(?P<key>[a-z][^\sA-Z:]*):\s*(?P<value>.*)$")
_MACHINE_SETTINGS = ("goos", "goarch", "cpu")
_SETTINGS = (*_MACHINE_SETTINGS, "pkg", "commit")
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
    Action: Any = None
    Test: Any = None


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
        self._crashed: set[str] = set()
        self._failed_packages: set[str] = set()

    @staticmethod
    def looks_like(head: bytes) -> bool:
        """Return whether a file that begins with `head` is of this format."""
        return _LOOKS_LIKE.search(head) is not None

    def cases(self) -> Iterator[Case]:
        """Yield the executions."""
        self.header = Header()
        self._machine, self._package, self._packages, self._pending = {}, "", set(), {}
        self._crashed, self._failed_packages = set(), set()
        for package, line in self._lines():
            if package is not None and package != self._package:
                self._enter(package)
            yield from self._read(line.rstrip("\r\n"))
        for package, name in self._pending.items():
            self._package = package
            if package in self._crashed:
                yield self._case(name, CaseOutcome.FAILED)
            else:
                self._without_result(name)

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
            if event.Action == "fail" and event.Test is None:
                self._fail_package(text(event.Package) or "", "")
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
            self._begin(result["name"])
            self._pending.pop(self._package, None)
            yield self._measured(result["name"], result["values"])
        elif (name := _NAME_ONLY.match(line)) is not None:
            self._begin(name["name"])
            yield from self._read_output(name["said"] or "")
        elif (setting := _CONFIGURATION.match(line)) is not None and setting["key"] in _SETTINGS:
            self._configure(setting["key"], setting["value"].strip())
        elif self._package in self._pending:
            yield from self._read_output(line)
        elif (failed := _FAILED_PACKAGE.match(line)) is not None:
            self._fail_package(failed["package"], failed["how"])

    def _read_output(self, said: str) -> Iterator[Case]:
        """Read text that a benchmark wrote before its result, and its result if it ends the text."""
        if (result := _RESULT_AFTER_TEXT.search(said)) is not None:
            yield self._measured(self._pending.pop(self._package), result["values"])
        elif (failed := _FAILED_PACKAGE.match(said)) is not None:
            self._crashed.add(self._package)
            self._fail_package(failed["package"], failed["how"])
        elif _CRASHED.match(said) is not None:
            self._crashed.add(self._package)

    def _begin(self, name: str) -> None:
        """Wait for the result of a benchmark. With `-v` the name of one comes twice, and before those of its parts."""
        before = self._pending.get(self._package)
        if before is not None and not name.startswith(_PROCESSORS.sub("", before)):
            self._without_result(before)
        self._pending[self._package] = name

    def _without_result(self, name: str) -> None:
        self.header.remarks.append(Remark("no result", f"{name} has no result in the format of go test -bench"))

    def _fail_package(self, package: str, how: str) -> None:
        """Add a remark that a package failed, once."""
        if package not in self._failed_packages:
            self._failed_packages.add(package)
            self.header.remarks.append(Remark("failed package", f"{package} {how}".rstrip()))

    def _configure(self, key: str, value: str) -> None:
        if key == "pkg":
            if value != self._package:
                self._enter(value)
        elif key in _MACHINE_SETTINGS:
            self._machine[key] = value
        elif value:
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
