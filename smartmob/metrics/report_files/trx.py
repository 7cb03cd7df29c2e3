"""The reader of TRX, the results of Visual Studio, `dotnet test` and `vstest.console`.

The definitions of the tests, which name their classes, stand after the results, so a file is read twice.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec

from smartmob.counts import counted
from smartmob.errors import InvalidInput
from smartmob.metrics.report_files.case_values import (
    ALTERED_NAME,
    COUNTS,
    CaseValues,
    add_remark,
    earliest,
    take_start,
)
from smartmob.metrics.report_files.junit_names import without_parameters
from smartmob.metrics.report_files.report import Case, CaseOutcome, Header, ReportedMachine
from smartmob.metrics.report_files.time_values import Durations
from smartmob.metrics.report_files.xml_elements import ElementPosition, read_cases, read_elements
from smartmob.metrics.report_files.xml_text import element_names

MAX_TESTS = 1_000_000
"""Most definitions of tests in a file, which are kept in memory with about 200 bytes each."""

_RESULTS = {
    *("UnitTestResult", "TestResult", "ManualTestResult", "WebTestResult", "LoadTestResult", "GenericTestResult"),
    "TestResultAggregation",
}
_CLASS = re.compile(r"[^,\[]*(?:\[.*\])?")
_NAMESPACE = b"microsoft.com/schemas/VisualStudio/TeamTest"


def looks_like(head: bytes) -> bool:
    """Return whether a file that begins with `head` is TRX. CppUnit has a root element of the same name."""
    names = element_names(head)
    known = {"UnitTestResult", "TestDefinitions", "TestSettings", "ResultSummary", "Results", "Times"}
    return names[:1] == ["TestRun"] and (_NAMESPACE in head.replace(b"\0", b"") or bool(known & set(names)))


class TrxReport:
    """A TRX file."""

    format_name = "TRX"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = Header()
        self._definitions: _Definitions | None = None

    @staticmethod
    def looks_like(head: bytes) -> bool:
        """Return whether a file that begins with `head` is TRX."""
        return looks_like(head)

    def cases(self) -> Iterator[Case]:
        """Yield the cases of the file in their order. Raises InvalidInput."""
        self.header = Header()
        if self._definitions is None:
            definitions = _Definitions()
            for _ in read_elements(self.path, definitions, []):
                pass
            self._definitions = definitions
        reading = _TrxReading(self._definitions, self.header)
        yield from read_cases(self.path, reading, self.header)
        reading.finish()


class _Definitions:
    """The class and the method of each test by its id."""

    def __init__(self) -> None:
        self.tests: dict[str, tuple[str, str]] = {}
        self._root = ""
        self._id = ""

    def start(self, tag: str, attributes: Mapping[str, str], position: ElementPosition) -> None:
        """Take the start of an element."""
        if not self._root:
            self._root = tag
            if tag != "TestRun":
                raise InvalidInput(f"it is not TRX: it begins with <{tag[:40]}>")
        if tag == "UnitTest":
            self._id = attributes.get("id", "")
        elif tag == "TestMethod" and self._id:
            if len(self.tests) >= MAX_TESTS:
                raise InvalidInput(f"it defines more than {MAX_TESTS:,} tests: split it")
            # MSTest writes the assembly after the class.
            found = _CLASS.match(attributes.get("className", ""))
            self.tests[self._id] = (found[0].strip() if found else "", attributes.get("name", ""))

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        if tag == "UnitTest":
            self._id = ""


class _OpenResult(msgspec.Struct):
    """A result whose end has not been read. A result with inner results (the rows of its data) is only their sum."""

    attributes: Mapping[str, str]
    position: ElementPosition
    has_inner: bool = False


class _TrxReading:
    """One pass over the results of a file."""

    def __init__(self, definitions: _Definitions, header: Header) -> None:
        self.ready: list[Case] = []
        self._definitions = definitions
        self._header = header
        self._durations = Durations()
        self._open: list[_OpenResult] = []
        self._machines: dict[str, ReportedMachine] = {}
        self._total: int | None = None
        self._seen = 0
        self._sums = 0
        self._outermost = 0

    def start(self, tag: str, attributes: Mapping[str, str], position: ElementPosition) -> None:
        """Take the start of an element."""
        if tag in _RESULTS:
            if self._open:
                self._open[-1].has_inner = True
            else:
                self._outermost += 1
            self._open.append(_OpenResult(attributes, position))
        elif tag == "Times":
            take_start(self._header, attributes.get("start", ""), position)
        elif tag == "Counters" and attributes.get("total", "").isdigit():
            self._total = int(attributes["total"][:9])
        elif tag == "TestRun":
            self._header.suites += 1

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        if tag in _RESULTS:
            result = self._open.pop()
            if result.has_inner:
                self._sums += 1
            else:
                self._seen += 1
                self._end_result(result)

    def finish(self) -> None:
        """Compare the number of results with the counter of the file."""
        if self._total is not None and self._total not in (self._outermost, self._seen, self._seen + self._sums):
            difference = f"the total is {self._total}, but it has {counted(self._seen, 'result')}"
            add_remark(self._header, COUNTS, difference)

    def _end_result(self, result: _OpenResult) -> None:
        attributes = result.attributes
        path, method = self._definition(attributes)
        name = attributes.get("testName", "").strip() or method or "unnamed"
        if not path:
            head, bracket, rest = name.partition("(")
            path, _, last = head.rpartition(".")
            name = last + bracket + rest if path else name
        name = name.removeprefix(f"{path}.") or name
        values = CaseValues(result.position, path, name)
        if result.position.altered & {"testName"}:
            values.remark(ALTERED_NAME, "characters that XML forbids are shown as escapes")
        # Visual Studio leaves the outcome out where it is the default, "Error".
        outcome = values.outcome(attributes, ("outcome",)) if attributes.get("outcome") else CaseOutcome.FAILED
        started_at = values.start(attributes, ("startTime",), None)
        if started_at is not None:
            self._header.started_at = earliest(self._header.started_at, started_at)
        self.ready.append(
            Case(
                path=path,
                name=without_parameters(method.removeprefix(f"{path}.")) if method else without_parameters(name),
                variant=name,
                outcome=outcome,
                total_time=values.seconds(self._durations, attributes, ("duration",), outcome),
                started_at=started_at,
                machine=self._machine(attributes.get("computerName", "").strip()),
                remarks=tuple(values.remarks),
            )
        )

    def _definition(self, attributes: Mapping[str, str]) -> tuple[str, str]:
        """Return the class and the method of a result; those of the outer result if it has no definition itself."""
        for each in (attributes, *(outer.attributes for outer in reversed(self._open))):
            found = self._definitions.tests.get(each.get("testId", ""))
            if found is not None:
                return found
        return "", ""

    def _machine(self, name: str) -> ReportedMachine:
        if name not in self._machines:
            # Few machines run the tests of one file; the limit keeps the memory bounded for a file with more names.
            if len(self._machines) > 100:
                self._machines.clear()
            self._machines[name] = ReportedMachine(node=name or None)
        return self._machines[name]
