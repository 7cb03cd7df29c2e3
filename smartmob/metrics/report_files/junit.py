"""The reader of JUnit XML in the dialects of its many writers.

There is no standard of JUnit XML. The page "JUnit XML" of the reference lists what is read from each dialect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC
from pathlib import Path

import msgspec

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files.case_values import (
    ALTERED_NAME,
    COUNTS,
    MISSING_NAME,
    REPLACED_TIMESTAMP,
    CaseValues,
    add_remark,
    earliest,
)
from smartmob.metrics.report_files.junit_names import without_parameters
from smartmob.metrics.report_files.junit_suites import Properties, Suite, location, writes_utc
from smartmob.metrics.report_files.outcome_words import is_yes
from smartmob.metrics.report_files.report import Case, CaseOutcome, Header
from smartmob.metrics.report_files.time_values import COMMA_DECIMAL, COMMA_THOUSANDS, Durations, comma_evidence, moment
from smartmob.metrics.report_files.xml_elements import ElementPosition, read_cases, read_elements
from smartmob.metrics.report_files.xml_text import element_names

_SUITES = ("testsuite", "testsuites")
_ROOTS = ("testsuite", "testsuites", "testrun")
_CHILDREN = {
    "failure": CaseOutcome.FAILED,
    "error": CaseOutcome.FAILED,
    "skipped": CaseOutcome.SKIPPED,
    "skip": CaseOutcome.SKIPPED,
    "ignored": CaseOutcome.SKIPPED,
    "disabled": CaseOutcome.SKIPPED,
    "notrun": CaseOutcome.SKIPPED,
    "pending": CaseOutcome.SKIPPED,
}
# Elements whose content says nothing about the outcome. Surefire and nextest keep the failures of earlier tries of a
# test in them; if the last try failed as well, another failure element stands beside them.
_RERUNS = {"flakyFailure", "flakyError", "rerunFailure", "rerunError"}
_OPAQUE = _RERUNS | {"system-out", "system-err", "properties"}
_STARTS = ("timestamp", "start-time", "start_time", "starttime", "startTime", "started-at", "started_at")
_WORD_ATTRIBUTES = ("status", "result", "outcome", "state")
_YES_ATTRIBUTES = ("skipped", "disabled", "ignored")


def looks_like(head: bytes) -> bool:
    """Return whether a file that begins with `head` is JUnit XML."""
    names = element_names(head)
    return bool(names) and (names[0] in _ROOTS or "testsuite" in names or "testsuites" in names)


class JUnitReport:
    """A file of JUnit XML."""

    format_name = "JUnit XML"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = Header()

    @staticmethod
    def looks_like(head: bytes) -> bool:
        """Return whether a file that begins with `head` is JUnit XML."""
        return looks_like(head)

    def cases(self) -> Iterator[Case]:
        """Yield the cases of the file in their order. Raises InvalidInput."""
        self.header = Header()
        reading = _JUnitReading(self.path, self.header)
        yield from read_cases(self.path, reading, self.header)
        reading.finish()


class _OpenCase(msgspec.Struct):
    """A `<testcase>` whose end has not been read."""

    attributes: Mapping[str, str]
    position: ElementPosition
    outcome: CaseOutcome | None = None


class _JUnitReading:
    """One pass over a file of JUnit XML."""

    def __init__(self, path: Path, header: Header) -> None:
        self.ready: list[Case] = []
        self._path = path
        self._header = header
        self._root = ""
        self._suites = [Suite()]
        self._cases: list[_OpenCase] = []
        self._opaque = 0
        """Levels of elements that are open within an opaque one, with it."""
        self._properties = Properties()
        self._durations = Durations(self._comma)
        self._comma_known = False
        self._comma_meaning: str | None = None
        self._any_suite = False
        """True if there was a suite or a case."""
        self._others = False
        """True if there was an element outside suites and cases that JUnit XML does not have."""

    def start(self, tag: str, attributes: Mapping[str, str], position: ElementPosition) -> None:
        """Process the start of an element."""
        self._root = self._root or tag
        if self._opaque:
            self._opaque += 1
            if tag == "property":
                self._property(attributes)
        elif tag == "testcase":
            self._any_suite = True
            self._cases.append(_OpenCase(attributes, position))
        elif tag in _SUITES:
            self._start_suite(tag, attributes, position)
        elif tag in _OPAQUE:
            self._opaque = 1
            self._suites[-1].reruns += tag in _RERUNS
        elif self._cases:
            outcome = _CHILDREN.get(tag)
            case = self._cases[-1]
            if outcome is not None and case.outcome is not CaseOutcome.FAILED:
                case.outcome = outcome
            self._suites[-1].failures += outcome is CaseOutcome.FAILED
        else:
            self._others = True

    def end(self, tag: str) -> None:
        """Process the end of an element."""
        if self._opaque:
            self._opaque -= 1
        elif tag == "testcase":
            self._end_case(self._cases.pop())
        elif tag in _SUITES:
            suite = self._suites.pop()
            for difference in suite.differences():
                add_remark(self._header, COUNTS, f"line {suite.line}, {suite.own_name or tag!r}: {difference}")
            self._suites[-1].add(suite)

    def finish(self) -> None:
        """Complete the header at the end of the file. Raises InvalidInput when it is not JUnit XML."""
        if not self._any_suite and (self._root not in _ROOTS or self._others):
            raise InvalidInput(
                f"it is not JUnit XML: it begins with <{self._root[:40]}> and has no <testsuite> or <testcase>"
            )
        self._header.properties = self._properties.tags()
        self._header.scm_ref = self._properties.scm_ref()

    def _start_suite(self, tag: str, attributes: Mapping[str, str], position: ElementPosition) -> None:
        self._any_suite = self._any_suite or tag == "testsuite"
        outer = self._suites[-1]
        suite = outer.inner(tag, attributes, position.line)
        self._suites.append(suite)
        self._header.suites += tag == "testsuite"
        text = next(filter(None, (attributes.get(name, "").strip() for name in _STARTS)), "")
        if text:
            begun = moment(text)
            if begun is None:
                where = f"line {position.line}, suite {suite.name!r}"
                add_remark(self._header, REPLACED_TIMESTAMP, f'{where}: timestamp="{text}"')
            else:
                if begun.tzinfo is None:
                    begun = begun.replace(tzinfo=UTC if writes_utc(attributes) else outer.zone)
                suite.begin(begun)
                self._header.started_at = earliest(self._header.started_at, begun)

    def _property(self, attributes: Mapping[str, str]) -> None:
        """Keep a property of a suite; those of cases are left out."""
        name = attributes.get("name", "")
        if not self._cases and name:
            self._suites[-1].set_property(name, attributes.get("value", ""))
            if self._suites[-1].depth <= 1:
                self._properties.add(name, attributes.get("value", ""))

    def _end_case(self, case: _OpenCase) -> None:
        suite, attributes = self._suites[-1], case.attributes
        path = attributes.get("classname") or attributes.get("class") or suite.name
        given_name = attributes.get("name", "")
        name = given_name if given_name.strip() else path or "unnamed"
        values = CaseValues(case.position, path, name)
        found = [case.outcome] if case.outcome is not None else []
        if any(is_yes(attributes.get(attribute, "")) for attribute in _YES_ATTRIBUTES):
            found.append(CaseOutcome.SKIPPED)
        outcome = values.outcome(attributes, _WORD_ATTRIBUTES, found)
        if name != given_name and outcome is CaseOutcome.PASSED:
            values.remark(MISSING_NAME, "the test case has no name")
        if case.position.altered & {"name", "classname", "class"}:
            values.remark(ALTERED_NAME, "characters that XML forbids are shown as escapes")
        seconds = values.seconds(self._durations, attributes, ("time", "duration"), outcome)
        begun = values.start(attributes, _STARTS, suite.zone)
        if begun is not None:
            self._header.started_at = earliest(self._header.started_at, begun)
        start = begun or suite.clock
        suite.count(outcome, start, seconds)
        self.ready.append(
            Case(
                path=path,
                name=without_parameters(name),
                variant=f"{name} [{suite.project}]" if suite.project else name,
                outcome=outcome,
                total_time=seconds,
                started_at=start,
                location=location(attributes) or suite.file,
                machine=suite.machine(),
                remarks=tuple(values.remarks),
            )
        )

    def _comma(self) -> str | None:
        """Return the meaning of a comma in the times of this file, by the times that have only one meaning."""
        if not self._comma_known:
            self._comma_known = True
            evidence = _CommaEvidence()
            for _ in read_elements(self._path, evidence, []):
                if evidence.meanings == {COMMA_DECIMAL, COMMA_THOUSANDS}:
                    break
            self._comma_meaning = evidence.meanings.pop() if len(evidence.meanings) == 1 else None
        return self._comma_meaning


class _CommaEvidence:
    """The meanings of a comma that the times of a file show."""

    def __init__(self) -> None:
        self.meanings: set[str] = set()

    def start(self, tag: str, attributes: Mapping[str, str], position: ElementPosition) -> None:
        """Process the start of an element."""
        if tag == "testcase" or tag in _SUITES:
            self.meanings |= comma_evidence(attributes.get("time", ""))

    def end(self, tag: str) -> None:
        """Process the end of an element."""
