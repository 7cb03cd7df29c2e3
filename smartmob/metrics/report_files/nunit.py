"""The reader of the results of NUnit: of NUnit 3, which Unity writes as well, and of NUnit 2."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from smartmob.metrics.report_files.case_values import CaseValues, earliest, take_start
from smartmob.metrics.report_files.junit_names import without_parameters
from smartmob.metrics.report_files.report import UNKNOWN_MACHINE, Case, CaseOutcome, Header, ReportedMachine
from smartmob.metrics.report_files.time_values import Durations
from smartmob.metrics.report_files.xml_elements import ElementPosition, check_root, read_cases
from smartmob.metrics.report_files.xml_text import element_names

_ROOTS = ("test-run", "test-results")
_NO = ("false", "no")


class NUnitReport:
    """A file of results of NUnit."""

    format_name = "NUnit XML"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = Header()

    @staticmethod
    def looks_like(head: bytes) -> bool:
        """Return whether a file that begins with `head` is of NUnit."""
        names = element_names(head)
        return bool(names) and names[0] in _ROOTS

    def cases(self) -> Iterator[Case]:
        """Yield the cases of the file in their order. Raises InvalidInput."""
        self.header = Header()
        yield from read_cases(self.path, _NUnitReading(self.header), self.header)


class _NUnitReading:
    """One pass over a file."""

    def __init__(self, header: Header) -> None:
        self.ready: list[Case] = []
        self._header = header
        self._root = ""
        self._durations = Durations()
        self._fixtures: list[str] = []
        """The full name of each open suite that is a class, and "" for other suites."""
        self._machine = UNKNOWN_MACHINE

    def start(self, tag: str, attributes: Mapping[str, str], position: ElementPosition) -> None:
        """Take the start of an element."""
        if not self._root:
            self._root = tag
            check_root(tag, _ROOTS, NUnitReport.format_name)
        if tag in _ROOTS:
            self._start_run(attributes, position)
        elif tag == "environment":
            self._machine = _machine(attributes)
        elif tag == "test-suite":
            self._header.suites += 1
            is_class = attributes.get("type") == "TestFixture"
            self._fixtures.append((attributes.get("fullname") or attributes.get("name", "")) if is_class else "")
        elif tag == "test-case":
            self._case(attributes, position)

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        if tag == "test-suite":
            self._fixtures.pop()

    def _start_run(self, attributes: Mapping[str, str], position: ElementPosition) -> None:
        text = attributes.get("start-time", "")
        date = attributes.get("run-date") or attributes.get("date")
        if date:
            # NUnit 2 and the first versions of NUnit 3 have date and time apart, without a zone.
            text = f"{date} {text or attributes.get('time', '')}".strip()
        take_start(self._header, text, position)

    def _case(self, attributes: Mapping[str, str], position: ElementPosition) -> None:
        path, name = self._names(attributes)
        values = CaseValues(position, path, name)
        found = [CaseOutcome.SKIPPED] if attributes.get("executed", "").lower() in _NO else []
        if not attributes.get("result") and attributes.get("success", "").lower() in _NO:
            # NUnit 2.4 has no word for the outcome.
            found.append(CaseOutcome.FAILED)
        # "Failed(Child)" names the location of the failure after the outcome.
        result = attributes.get("result", "").partition("(")[0]
        outcome = values.outcome({"result": result}, ("result",), found)
        started_at: datetime | None = values.start(attributes, ("start-time",), None)
        if started_at is not None:
            self._header.started_at = earliest(self._header.started_at, started_at)
        method = attributes.get("methodname")
        self.ready.append(
            Case(
                path=path,
                name=method or without_parameters(name),
                variant=name,
                outcome=outcome,
                total_time=values.seconds(self._durations, attributes, ("duration", "time"), outcome),
                started_at=started_at,
                machine=self._machine,
                remarks=tuple(values.remarks),
            )
        )

    def _names(self, attributes: Mapping[str, str]) -> tuple[str, str]:
        """Return the class and the name of a case."""
        name = attributes.get("name", "").strip() or "unnamed"
        fixture = next((each for each in reversed(self._fixtures) if each), "")
        path = attributes.get("classname", "")
        if path:
            # The arguments of a class, "Tests(1)", stand only in its suite.
            return (fixture if fixture.startswith(f"{path}(") else path), name
        # NUnit 2 writes the class before the name, whose arguments can contain points as well.
        head, bracket, arguments = name.partition("(")
        path, _, last = head.rpartition(".")
        return (path, last + bracket + arguments) if path and last else (fixture, name)


def _machine(attributes: Mapping[str, str]) -> ReportedMachine:
    """Return the machine of an element `environment`."""
    return ReportedMachine(
        node=attributes.get("machine-name") or None,
        machine_arch=attributes.get("os-architecture") or None,
        system_info=attributes.get("os-version") or None,
    )
