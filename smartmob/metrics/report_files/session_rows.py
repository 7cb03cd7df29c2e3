"""Converts a report to the context, session and metrics that the REST API accepts."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import msgspec
import orjson
from msgspec.structs import replace

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files import metric_lines
from smartmob.metrics.report_files.import_summary import FAILED, REFUSED, SKIPPED, ImportSummary
from smartmob.metrics.report_files.metric_lines import moment_of
from smartmob.metrics.report_files.report import Case, CaseOutcome, ReportedMachine, ReportFile
from smartmob.metrics.report_files.run_groups import ReadReport
from smartmob.metrics.session_tags import RUN_TAG

_VERSION = 2
"""The version of this conversion. Another version reads other cases from a file, so it makes other sessions."""

_MOST_TAGS = 200  # properties of a report that become tags
_LONGEST_TAG = 10_000  # characters; longer properties are dumps of an environment
_LONGEST_STEP = 366 * 24 * 3600.0  # seconds of one test that move the start of the next


class ImportOptions(msgspec.Struct, frozen=True):
    """The values from the command line that a report lacks or has wrong."""

    scm_ref: str = ""
    tags: Mapping[str, str] = msgspec.field(default_factory=dict)
    component: str = ""
    machine: str = ""
    started_at: datetime | None = None

    def given(self) -> list[str]:
        """Return the names of the options that were given."""
        values = {
            "--scm-ref": self.scm_ref,
            "--tag": self.tags,
            "--component": self.component,
            "--machine": self.machine,
            "--started-at": self.started_at,
        }
        return [name for name, value in values.items() if value]


class ReportSource(msgspec.Struct, frozen=True):
    """The origin of a report: its name for people, a digest of its content, and its last change."""

    name: str
    digest: str
    modified: datetime


class ReportRows:
    """The rows of a report, which is read twice: once for the summary, and once for the metrics.

    The session is identified by the content of the file and by the options: the same report of another commit, machine
    or time counts as another run.
    """

    def __init__(self, report: ReportFile, source: ReportSource, options: ImportOptions) -> None:
        self._report = report
        self._options = options
        self._source = source
        self.summary = ImportSummary(report.format_name)
        self._contexts: dict[ReportedMachine, dict[str, Any]] = {}
        self._refused: set[int] = set()
        self._total = 0
        self._tests: set[int] = set()
        self._took = 0.0
        self._last_end: datetime | None = None
        self._run: str | None = None
        self._session_h = _digest(
            _VERSION,
            report.format_name,
            source.digest,
            options.scm_ref,
            sorted(options.tags.items()),
            options.component,
            options.machine,
            None if options.started_at is None else options.started_at.isoformat(),
        )
        self._origin, self._shift, self._is_shifted = source.modified, timedelta(0), False
        self._scan()

    def read_report(self, folder: str) -> ReadReport:
        """Return the data by which the report, a file in `folder`, is assigned to a run."""
        _, start = self._first_start()
        ends = [
            _later(start, self._took),
            *(() if self._last_end is None else (_later(self._last_end, 0, self._shift),)),
        ]
        return ReadReport(self._session_h, folder, self._scm_ref(), start, max(start, *ends), frozenset(self._tests))

    def join_run(self, name: str) -> None:
        """Add the tag `run` to the session."""
        self._run = name

    def contexts(self) -> Iterator[dict[str, Any]]:
        """Yield contexts as the REST API accepts them."""
        yield from self._contexts.values()

    def sessions(self) -> Iterator[dict[str, Any]]:
        """Yield the session."""
        text, moment = self._first_start()
        run = {} if self._run is None else {RUN_TAG: self._run}
        yield {
            "session_h": self._session_h,
            "run_date": text,
            "started_at": moment.isoformat(),
            "scm_ref": self._scm_ref(),
            "description": run | self._tags() | dict(self._options.tags) | {"imported_from": self._source.name},
        }

    def counts(self) -> dict[str, int]:
        """Return the number of metrics by session hash."""
        return {self._session_h: self._total}

    def metrics(self, session_h: str, offset: int) -> Iterator[bytes]:
        """Yield the metrics of a session as lines of JSON, beginning with number `offset`."""
        if session_h != self._session_h:
            return
        position = 0
        for index, row in self._rows():
            if index in self._refused:
                continue
            if position >= offset:
                yield orjson.dumps(row, option=orjson.OPT_APPEND_NEWLINE)
            position += 1

    def _first_start(self) -> tuple[str, datetime]:
        return _StartSequence(self._origin, self._shift, self._is_shifted).next(self._origin, None)

    def _scm_ref(self) -> str:
        return self._options.scm_ref or self._report.header.scm_ref or ""

    # -- reading ------------------------------------------------------------------------------------------------------

    def _scan(self) -> None:
        """Read the report once: count the cases, collect remarks, and check each metric."""
        summary, own, first = self.summary, None, None
        for index, case in enumerate(self._report.cases()):
            summary.cases += 1
            for remark in case.remarks:
                summary.remarks.add(remark.kind, remark.text)
            if case.started_at is not None:
                moment = moment_of(case.started_at)
                if moment is None:
                    summary.remarks.add("unread timestamp", f"{case.started_at.isoformat()} of {_name(case)}")
                elif first is None or moment < first:
                    own, first = case.started_at, moment
            if case.outcome is not CaseOutcome.PASSED:
                summary.left_out.add(SKIPPED if case.outcome is CaseOutcome.SKIPPED else FAILED, _name(case))
                continue
            try:
                context_h = self._context(case.machine)
                metric_lines.encode(self._row(case, context_h, *_ANY_START))
            except InvalidInput as error:
                summary.left_out.add(REFUSED, f"{_name(case)}: {error}")
                self._refused.add(index)
            else:
                self._total += 1
                self._note(case)
        header = self._report.header
        summary.suites = header.suites
        for remark in header.remarks:
            summary.remarks.add(remark.kind, remark.text)
        if not summary.cases:
            summary.remarks.add("no cases", "the file has no test case")
        self._choose_start(own)

    def _note(self, case: Case) -> None:
        """Record a stored test, and its end."""
        self._tests.add(hash((case.path, case.name, case.variant)))
        took = min(case.total_time or 0.0, _LONGEST_STEP)
        self._took += took
        if case.started_at is not None and (moment := moment_of(case.started_at)) is not None:
            end = _later(moment, took)
            self._last_end = end if self._last_end is None else max(self._last_end, end)

    def _choose_start(self, own: datetime | None) -> None:
        """Set the start of the session: the given one, the report's, its first case's, or the file's last change."""
        said, header = self.summary.remarks, self._report.header
        begins = [moment for moment in (header.started_at, own) if moment is not None]
        if header.started_at is not None and moment_of(header.started_at) is None:
            said.add("unread timestamp", header.started_at.isoformat())
            begins = begins[1:]
        wanted = self._options.started_at
        if begins:
            self._origin = begins[0]
        elif wanted is None and self.summary.cases:
            shown = self._source.modified.astimezone().isoformat(sep=" ", timespec="seconds")
            said.add("replaced timestamp", f"the report has no time; the last change of the file was taken: {shown}")
        if wanted is not None:
            begin, moment = moment_of(self._origin), moment_of(wanted)
            if begin is None or moment is None:
                raise InvalidInput(f"--started-at {wanted.isoformat()} is out of range")
            self._shift, self._is_shifted = moment - begin, True

    def _rows(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield the metrics of all cases that passed, each with the number of its case."""
        clock = _StartSequence(self._origin, self._shift, self._is_shifted)
        for index, case in enumerate(self._report.cases()):
            text, moment = clock.next(case.started_at, case.total_time)
            if case.outcome is CaseOutcome.PASSED:
                yield index, self._row(case, self._context(case.machine), text, moment.isoformat())

    def _row(self, case: Case, context_h: str, started: str, moment: str) -> dict[str, Any]:
        return {
            "session_h": self._session_h,
            "context_h": context_h,
            "item_start_time": started,
            "started_at": moment,
            "item_path": case.path,
            "item": case.name,
            "item_variant": case.variant,
            "item_fs_loc": case.location,
            "kind": case.kind,
            "component": self._options.component,
            "total_time": case.total_time,
            "user_time": case.user_time,
            "kernel_time": case.kernel_time,
            "cpu_usage": case.cpu_usage,
            "mem_usage": case.mem_usage,
        }

    def _context(self, machine: ReportedMachine) -> str:
        """Return the hash of the context of a machine."""
        known = self._contexts.get(machine)
        if known is None:
            found = replace(machine, node=self._options.machine) if self._options.machine else machine
            known = self._contexts[machine] = _context_of(found)
        return str(known["h"])

    def _tags(self) -> dict[str, str]:
        """Return the properties of the report that become tags."""
        found: dict[str, str] = {}
        for name, value in self._report.header.properties.items():
            if (
                len(found) == _MOST_TAGS
                or len(value) > _LONGEST_TAG
                or len(name) > _LONGEST_TAG
                or "\0" in name + value
            ):
                continue
            if name:
                found[name] = value.encode("utf-8", "replace").decode()
        return found


_ANY_START = ("1970-01-01T00:00:00", "1970-01-01T00:00:00+00:00")
"""A start with which the other fields of a metric are checked; `_StartSequence` makes only valid ones."""


class _StartSequence:
    """Gives each case its start: its own, or else the end of the case before.

    A start is a text and the moment that it means. The text has no zone if the report's own times have none.
    """

    def __init__(self, origin: datetime, shift: timedelta, is_shifted: bool) -> None:
        begin = moment_of(origin)
        assert begin is not None  # `_choose_start` takes only times that have a moment
        self._next = begin
        self._is_naive = origin.tzinfo is None
        self._shift = shift
        self._is_shifted = is_shifted

    def next(self, own: datetime | None, took: float | None) -> tuple[str, datetime]:
        """Return text and moment of the start of a case that took `took` seconds."""
        moment = None if own is None else moment_of(own)
        if own is not None and moment is not None:
            self._is_naive = own.tzinfo is None
            text = own.isoformat()
        else:
            moment, text = self._next, self._text(self._next)
        try:
            self._next = moment + timedelta(seconds=min(took or 0.0, _LONGEST_STEP))
            if self._is_shifted:
                moment += self._shift
                text = moment.isoformat()
        except (OverflowError, ValueError):
            pass
        return text, moment

    def _text(self, moment: datetime) -> str:
        try:
            return (moment.astimezone().replace(tzinfo=None) if self._is_naive else moment).isoformat()
        except (OverflowError, ValueError, OSError):
            return moment.isoformat()


def _later(moment: datetime, seconds: float, by: timedelta = timedelta(0)) -> datetime:
    """Return a moment `seconds` and `by` later; if that is beyond the calendar, return the moment itself."""
    try:
        return moment + timedelta(seconds=seconds) + by
    except OverflowError:
        return moment


def _context_of(machine: ReportedMachine) -> dict[str, Any]:
    """Return a machine as a context; "unknown" and 0 stand for values that a report lacks."""
    values: dict[str, Any] = {
        "cpu_count": machine.cpu_count or 0,
        "cpu_frequency": machine.cpu_frequency_mhz or 0,
        "cpu_type": machine.cpu_type or "unknown",
        "cpu_vendor": machine.cpu_vendor or "unknown",
        "ram_total": machine.ram_total_mb or 0,
        "machine_node": machine.node or "unknown",
        "machine_type": machine.machine_type or "unknown",
        "machine_arch": machine.machine_arch or "unknown",
        "system_info": machine.system_info or "unknown",
        "python_info": machine.python_info or "unknown",
    }
    return {"h": _digest("context", values)} | values


def _digest(*values: Any) -> str:
    """Return a hash of 32 hexadecimal digits."""
    try:
        data = orjson.dumps(values, option=orjson.OPT_SORT_KEYS)
    except TypeError as error:
        raise InvalidInput(f"a text cannot be stored: {error}") from None
    return hashlib.blake2b(data, digest_size=16, person=b"smartmob-import").hexdigest()


def _name(case: Case) -> str:
    return f"{case.path}::{case.variant or case.name}" if case.path else case.variant or case.name
