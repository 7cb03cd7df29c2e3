"""The reader of JUnit XML in the dialects of its many writers.

There is no standard of JUnit XML. The page "JUnit XML" of the reference lists what is read from each dialect.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files.junit_names import without_parameters
from smartmob.metrics.report_files.junit_suites import Properties, Suite, location, writes_utc
from smartmob.metrics.report_files.outcome_words import is_yes, outcome_of_word
from smartmob.metrics.report_files.report import Case, Header, Outcome, Remark
from smartmob.metrics.report_files.time_values import COMMA_DECIMAL, COMMA_THOUSANDS, Durations, comma_evidence, moment
from smartmob.metrics.report_files.xml_elements import Place, read_elements
from smartmob.metrics.report_files.xml_text import element_names

UNREAD_TIME = "unread time"
REPLACED_TIMESTAMP = "replaced timestamp"
UNKNOWN_OUTCOME = "unknown outcome"
MISSING_NAME = "missing name"
ALTERED_NAME = "characters of a name"
COUNTS = "counts differ"

_SUITES = ("testsuite", "testsuites")
_ROOTS = ("testsuite", "testsuites", "testrun")
_CHILDREN = {
    "failure": Outcome.FAILED,
    "error": Outcome.FAILED,
    "skipped": Outcome.SKIPPED,
    "skip": Outcome.SKIPPED,
    "ignored": Outcome.SKIPPED,
    "disabled": Outcome.SKIPPED,
    "notrun": Outcome.SKIPPED,
    "pending": Outcome.SKIPPED,
}
# Elements whose content says nothing about the outcome. Surefire and nextest keep the failures of earlier tries of a
# test in them; if the last try failed too, there is a failure beside them.
_RERUNS = {"flakyFailure", "flakyError", "rerunFailure", "rerunError"}
_OPAQUE = _RERUNS | {"system-out", "system-err", "properties"}
_WORD_ATTRIBUTES = ("status", "result", "outcome", "state")
_YES_ATTRIBUTES = ("skipped", "disabled", "ignored")
_EXAMPLE_CHARACTERS = 200


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
        reading = _Reading(self.path, self.header)
        for _ in read_elements(self.path, reading, self.header.remarks):
            yield from reading.ready
            reading.ready.clear()
        reading.finish()


@dataclass(slots=True)
class _OpenCase:
    """A `<testcase>` whose end has not been read."""

    attributes: Mapping[str, str]
    place: Place
    outcome: Outcome | None = None
    remarks: list[Remark] = field(default_factory=list)


class _Reading:
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
        """Whether there was a suite or a case."""
        self._others = False
        """Whether there was an element outside suites and cases that JUnit XML does not have."""

    def start(self, tag: str, attributes: Mapping[str, str], place: Place) -> None:
        """Take the start of an element."""
        self._root = self._root or tag
        if self._opaque:
            self._opaque += 1
            if tag == "property":
                self._property(attributes)
        elif tag == "testcase":
            self._any_suite = True
            self._cases.append(_OpenCase(attributes, place))
        elif tag in _SUITES:
            self._start_suite(tag, attributes, place)
        elif tag in _OPAQUE:
            self._opaque = 1
            self._suites[-1].reruns += tag in _RERUNS
        elif self._cases:
            outcome = _CHILDREN.get(tag)
            case = self._cases[-1]
            if outcome is not None and case.outcome is not Outcome.FAILED:
                case.outcome = outcome
            self._suites[-1].failures += outcome is Outcome.FAILED
        else:
            self._others = True

    def end(self, tag: str) -> None:
        """Take the end of an element."""
        if self._opaque:
            self._opaque -= 1
        elif tag == "testcase":
            self._end_case(self._cases.pop())
        elif tag in _SUITES:
            suite = self._suites.pop()
            self._header.remarks.extend(
                Remark(COUNTS, _short(f"line {suite.line}, {suite.own_name or tag!r}: {told}"))
                for told in suite.differences()
            )
            self._suites[-1].add(suite)

    def finish(self) -> None:
        """Complete the header at the end of the file. Raises InvalidInput when it is no JUnit XML."""
        if not self._any_suite and (self._root not in _ROOTS or self._others):
            raise InvalidInput(
                f"{self._path} is no JUnit XML: it begins with <{self._root[:40]}> and has no <testsuite> or <testcase>"
            )
        self._header.properties = self._properties.tags()
        self._header.scm_ref = self._properties.scm_ref()

    def _start_suite(self, tag: str, attributes: Mapping[str, str], place: Place) -> None:
        self._any_suite = self._any_suite or tag == "testsuite"
        outer = self._suites[-1]
        suite = outer.inner(tag, attributes, place.line)
        self._suites.append(suite)
        self._header.suites += tag == "testsuite"
        told = attributes.get("timestamp") or _date_and_time(attributes)
        if told:
            begun = moment(told)
            if begun is None:
                where = f"line {place.line}, suite {suite.name!r}"
                self._header.remarks.append(Remark(REPLACED_TIMESTAMP, _short(f'{where}: timestamp="{told}"')))
            else:
                if begun.tzinfo is None:
                    begun = begun.replace(tzinfo=UTC if writes_utc(attributes) else outer.zone)
                suite.begin(begun)
                self._started(begun)

    def _started(self, begun: datetime) -> None:
        """Keep the earliest start; a time with and one without a zone cannot be compared, so the first kind stays."""
        first = self._header.started_at
        if first is None or ((first.tzinfo is None) == (begun.tzinfo is None) and begun < first):
            self._header.started_at = begun

    def _property(self, attributes: Mapping[str, str]) -> None:
        """Keep a property of a suite; those of cases are left out."""
        name = attributes.get("name", "")
        if not self._cases and name:
            self._suites[-1].set_property(name, attributes.get("value", ""))
            if self._suites[-1].depth <= 1:
                self._properties.add(name, attributes.get("value", ""))

    def _end_case(self, case: _OpenCase) -> None:
        suite, attributes = self._suites[-1], case.attributes
        outcome = self._outcome(case)
        name, path = self._names(case, suite, outcome)
        where = f"line {case.place.line}, {path + '.' if path else ''}{name}"
        seconds = self._seconds(case, outcome, where)
        begun = self._begun(case, suite, where)
        start = suite.clock
        if begun is not None:
            start = begun
            self._started(begun)
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
                remarks=tuple(case.remarks),
            )
        )

    def _names(self, case: _OpenCase, suite: Suite, outcome: Outcome) -> tuple[str, str]:
        """Return the name and the path of a case."""
        attributes = case.attributes
        path = attributes.get("classname") or attributes.get("class") or suite.name
        name = attributes.get("name", "")
        if not name.strip():
            name = path or "unnamed"
            if outcome is Outcome.PASSED:
                case.remarks.append(Remark(MISSING_NAME, _short(f"line {case.place.line}: a test case of {path!r}")))
        if case.place.altered & {"name", "classname", "class"}:
            case.remarks.append(Remark(ALTERED_NAME, _short(f"line {case.place.line}: {path}.{name}")))
        return name, path

    def _outcome(self, case: _OpenCase) -> Outcome:
        """Return the outcome by the children of a case and by words in its attributes; a failure wins."""
        found = {case.outcome} if case.outcome is not None else set()
        for attribute in _WORD_ATTRIBUTES:
            word = case.attributes.get(attribute, "").strip()
            if not word:
                continue
            outcome = outcome_of_word(word)
            if outcome is None:
                told = f'line {case.place.line}, {case.attributes.get("name", "")}: {attribute}="{word}"'
                case.remarks.append(Remark(UNKNOWN_OUTCOME, _short(told)))
            else:
                found.add(outcome)
        if any(is_yes(case.attributes.get(attribute, "")) for attribute in _YES_ATTRIBUTES):
            found.add(Outcome.SKIPPED)
        for outcome in (Outcome.FAILED, Outcome.SKIPPED):
            if outcome in found:
                return outcome
        return Outcome.PASSED

    def _seconds(self, case: _OpenCase, outcome: Outcome, where: str) -> float | None:
        """Return the duration of a case. Only for a passed one, whose cost is used, its absence is remarked."""
        told = case.attributes.get("time", "").strip() or case.attributes.get("duration", "").strip()
        seconds = self._durations.seconds(told) if told else None
        if seconds is None and (told or outcome is Outcome.PASSED):
            reason = f'time="{told}"' if told else "it has no time"
            case.remarks.append(Remark(UNREAD_TIME, _short(f"{where}: {reason}")))
        return seconds

    def _begun(self, case: _OpenCase, suite: Suite, where: str) -> datetime | None:
        """Return the start that a case says itself."""
        told = (case.attributes.get("timestamp") or case.attributes.get("start-time") or "").strip()
        if not told:
            return None
        begun = moment(told)
        if begun is None:
            case.remarks.append(Remark(REPLACED_TIMESTAMP, _short(f'{where}: timestamp="{told}"')))
        elif begun.tzinfo is None:
            begun = begun.replace(tzinfo=suite.zone)
        return begun

    def _comma(self) -> str | None:
        """Return the meaning of a comma in the times of this file, by those that have one meaning only."""
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

    def start(self, tag: str, attributes: Mapping[str, str], place: Place) -> None:
        """Take the start of an element."""
        if tag == "testcase" or tag in _SUITES:
            self.meanings |= comma_evidence(attributes.get("time", ""))

    def end(self, tag: str) -> None:
        """Take the end of an element."""


def _date_and_time(attributes: Mapping[str, str]) -> str:
    """Return the start of a suite that has it in two attributes, or ""."""
    date = attributes.get("date") or attributes.get("run-date") or ""
    return f"{date}T{attributes.get('run-time', '00:00:00')}" if date else ""


def _short(text: str) -> str:
    return text if len(text) <= _EXAMPLE_CHARACTERS else f"{text[:_EXAMPLE_CHARACTERS]}…"
