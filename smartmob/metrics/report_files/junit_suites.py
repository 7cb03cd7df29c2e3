"""The suites of a JUnit XML file, and the values that their cases inherit from them."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta, tzinfo

import msgspec

from smartmob.counts import counted
from smartmob.metrics.report_files.report import UNKNOWN_MACHINE, CaseOutcome, ReportedMachine

MAX_PROPERTIES = 1000
"""The maximum number of properties that are kept of a file. A JVM has about a hundred."""

MAX_VALUE_CHARACTERS = 1024
"""Longest value of a property that is kept."""

# The names of the suites, or the order of attributes, of writers whose times without a zone are in UTC: jest-junit and
# mocha-junit-reporter (`toISOString` without its Z), Gradle before 8.13 and karma-junit-reporter.
_UTC_SUITES = {"jest tests", "Mocha Tests"}
_UTC_ATTRIBUTES = {
    ("name", "tests", "skipped", "failures", "errors", "timestamp", "hostname", "time"),
    ("name", "package", "timestamp", "id", "hostname", "tests", "errors", "failures", "time"),
}
# The order of attributes of Catch2 (with and without skipped tests) and of doctest, whose counts are of assertions.
_ASSERTIONS = {
    ("name", "errors", "failures", "skipped", "tests", "hostname", "time", "timestamp"),
    ("name", "errors", "failures", "tests", "hostname", "time", "timestamp"),
    ("name", "errors", "failures", "tests"),
}
_UTC_PROPERTY = "ant.version"
"""A property of Ant, whose times are in UTC but lack a zone."""


# Playwright writes the name of its project as the name of the host, and Catch2 writes "tbd".
_PLAYWRIGHT = ("name", "timestamp", "hostname", "tests", "failures", "skipped", "time", "errors")
_NO_HOST = "tbd"

_LINE = re.compile(r"(?::\d+){1,2}$")


def location(attributes: Mapping[str, str]) -> str:
    """Return the source file that an element names, without the line number at its end, or ""."""
    return _LINE.sub("", attributes.get("file") or attributes.get("filepath") or "")


def writes_utc(attributes: Mapping[str, str]) -> bool:
    """Return whether a suite was written by a program whose times without a zone are in UTC."""
    return attributes.get("name") in _UTC_SUITES or tuple(attributes) in _UTC_ATTRIBUTES


class Suite(msgspec.Struct):
    """An open suite. A value that it does not state is inherited from its outer suite."""

    depth: int = 0
    """The number of open `<testsuite>` elements."""
    project: str = ""
    """The project of Playwright, such as a browser, with which the tests ran: a parameter of all cases."""
    name: str = ""
    own_name: str = ""
    line: int = 0
    host: str | None = None
    file: str = ""
    zone: tzinfo | None = None
    clock: datetime | None = None
    """The time at which the next case starts, if it is known when the suite began."""
    declared: Mapping[str, str] = msgspec.field(default_factory=dict)
    properties: dict[str, str] = msgspec.field(default_factory=dict)
    direct: dict[CaseOutcome, int] = msgspec.field(default_factory=lambda: dict.fromkeys(CaseOutcome, 0))
    """The number of cases by outcome directly in this suite."""
    nested: dict[CaseOutcome, int] = msgspec.field(default_factory=lambda: dict.fromkeys(CaseOutcome, 0))
    """The number of cases by outcome in its inner suites."""
    failures: int = 0
    """The number of elements of failures and errors, a case can have several."""
    reruns: int = 0
    """The number of earlier tries of flaky tests."""
    _machine: ReportedMachine | None = None

    def inner(self, tag: str, attributes: Mapping[str, str], line: int) -> Suite:
        """Return a new suite within this one."""
        name = attributes.get("name", "").strip()
        host = attributes.get("hostname", "").strip()
        project = host if tuple(attributes) == _PLAYWRIGHT else ""
        if project or host == _NO_HOST:
            host = ""
        return Suite(
            depth=self.depth + (tag == "testsuite"),
            project=project or self.project,
            name=name or self.name,
            own_name=name,
            line=line,
            host=host or self.host,
            file=location(attributes) or self.file,
            zone=UTC if attributes.get("name") in _UTC_SUITES else self.zone,
            clock=self.clock,
            declared=attributes,
            properties=dict(self.properties),
        )

    def begin(self, moment: datetime) -> None:
        """Set the start of the suite."""
        self.clock = moment
        self.zone = moment.tzinfo or self.zone

    def set_property(self, name: str, value: str) -> None:
        """Set a property, which holds for all cases that follow."""
        if len(self.properties) < MAX_PROPERTIES:
            self.properties[name] = value[:MAX_VALUE_CHARACTERS]
            self._machine = None
        if name == _UTC_PROPERTY and self.clock is not None and self.clock.tzinfo is None:
            self.begin(self.clock.replace(tzinfo=UTC))

    def machine(self) -> ReportedMachine:
        """Return the machine of the cases: its host name, and its system if the properties of a JVM state it."""
        if self._machine is None:
            system = " ".join(filter(None, (self.properties.get("os.name"), self.properties.get("os.version"))))
            machine = ReportedMachine(
                node=self.host,
                machine_arch=self.properties.get("os.arch") or None,
                system_info=system or None,
            )
            self._machine = machine if machine != UNKNOWN_MACHINE else UNKNOWN_MACHINE
        return self._machine

    def count(self, outcome: CaseOutcome, start: datetime | None, seconds: float | None) -> None:
        """Count a case, and move the clock to its end."""
        self.direct[outcome] += 1
        if start is not None:
            self._advance(start, seconds or 0.0)

    def add(self, inner: Suite) -> None:
        """Add the counts of an inner suite when it ends; the next case starts at this time."""
        for outcome in CaseOutcome:
            self.nested[outcome] += inner.direct[outcome] + inner.nested[outcome]
        self.failures += inner.failures
        self.reruns += inner.reruns
        if self.clock is not None and inner.clock is not None:
            self.clock = inner.clock

    def differences(self) -> Iterator[str]:
        """Yield how the counts in the attributes differ from the cases.

        Writers count the cases of a suite with or without those of inner suites and skipped ones. Surefire counts each
        try of a test. pytest writes two cases for a test that fails and whose teardown fails, and counts one.
        jest-junit does not count the error of a file. Failures are those of cases or of assertions, and Catch2 and
        doctest count assertions as tests.
        """
        declared = _count(self.declared, "tests")
        if declared is None or tuple(self.declared) in _ASSERTIONS:
            return
        direct, total = sum(self.direct.values()), sum(self.direct.values()) + sum(self.nested.values())
        skipped = self.direct[CaseOutcome.SKIPPED] + self.nested[CaseOutcome.SKIPPED]
        failed = self.direct[CaseOutcome.FAILED] + self.nested[CaseOutcome.FAILED]
        usual = {direct, direct - self.direct[CaseOutcome.SKIPPED], total - skipped}
        if declared not in usual and not total - failed <= declared <= total + self.reruns:
            yield f"tests={declared}, but it has {counted(total, 'test case')}"
            return
        numbers = [number for name in ("failures", "errors") if (number := _count(self.declared, name)) is not None]
        most = max(failed, self.failures) + self.reruns
        if numbers and not self.direct[CaseOutcome.FAILED] <= sum(numbers) <= most:
            yield f"failures and errors are {sum(numbers)}, but {counted(failed, 'test case')} failed"

    def _advance(self, start: datetime, seconds: float) -> None:
        try:
            self.clock = start + timedelta(seconds=seconds)
        except OverflowError:
            self.clock = None


def _count(attributes: Mapping[str, str], name: str) -> int | None:
    text = attributes.get(name, "").strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


class Properties:
    """The properties of the outermost suites of a file. A property whose value differs between suites is left out."""

    def __init__(self) -> None:
        self._values: dict[str, str | None] = {}

    def add(self, name: str, value: str) -> None:
        """Add a property of a suite."""
        value = value[:MAX_VALUE_CHARACTERS]
        if name in self._values:
            self._values[name] = value if self._values[name] == value else None
        elif len(self._values) < MAX_PROPERTIES:
            self._values[name] = value

    def tags(self) -> dict[str, str]:
        """Return the properties that describe the run; none of a dump of a JVM's or Ant's properties or environment."""
        if _DUMPS & set(self._values):
            return {}
        return {name: value for name, value in self._values.items() if value and not _PRIVATE.search(name)}

    def scm_ref(self) -> str | None:
        """Return the commit that a property names, or None."""
        for name, value in self._values.items():
            if value and _COMMIT_NAME.fullmatch(name) and _COMMIT.fullmatch(value.strip()):
                return value.strip()
        return None


_DUMPS = {"java.home", "java.vm.name", "java.class.path", "ant.version"}
_PRIVATE = re.compile(r"^env\.|passw|secret|token|credential|api[._-]?key", re.IGNORECASE)
_COMMIT_NAME = re.compile(
    r"(?:(?:ci|git|scm|vcs|build)[._-]?)*(?:commit|revision|sha|ref|commit[._-]?(?:sha|id|hash)|build\.vcs\.number)",
    re.IGNORECASE,
)
_COMMIT = re.compile(r"[0-9a-fA-F]{7,64}")
