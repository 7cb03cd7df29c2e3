"""The reader of the results of xUnit.net, versions 1 to 3."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path

from smartmob.metrics.report_files.case_values import CaseValues, take_start
from smartmob.metrics.report_files.junit_names import without_parameters
from smartmob.metrics.report_files.report import UNKNOWN_MACHINE, Case, Header, ReportedMachine
from smartmob.metrics.report_files.time_values import Durations
from smartmob.metrics.report_files.xml_elements import ElementPosition, check_root, read_cases
from smartmob.metrics.report_files.xml_text import element_names

_ROOTS = ("assemblies", "assembly")


class XUnitReport:
    """A file of results of xUnit.net."""

    format_name = "xUnit.net XML"

    def __init__(self, path: Path) -> None:
        self.path = path
        self.header = Header()

    @staticmethod
    def looks_like(head: bytes) -> bool:
        """Return whether a file that begins with `head` is of xUnit.net."""
        names = element_names(head)
        known = {"assembly", "collection", "class", "errors", "test"}
        return bool(names) and names[0] in _ROOTS and (len(names) == 1 or bool(known & set(names[1:])))

    def cases(self) -> Iterator[Case]:
        """Yield the cases of the file in their order. Raises InvalidInput."""
        self.header = Header()
        yield from read_cases(self.path, _XUnitReading(self.header), self.header)


class _XUnitReading:
    """One pass over a file."""

    def __init__(self, header: Header) -> None:
        self.ready: list[Case] = []
        self._header = header
        self._root = ""
        self._durations = Durations()
        self._start: datetime | None = None
        """The start of the open assembly. Its tests run in parallel, so that no test has a start of its own."""
        self._machine = UNKNOWN_MACHINE

    def start(self, tag: str, attributes: Mapping[str, str], position: ElementPosition) -> None:
        """Take the start of an element."""
        if not self._root:
            self._root = tag
            check_root(tag, _ROOTS, XUnitReport.format_name)
        if tag in _ROOTS:
            self._start_assembly(attributes, position)
            self._header.suites += tag == "assembly"
        elif tag == "test":
            self._case(attributes, position)

    def end(self, tag: str) -> None:
        """Take the end of an element."""

    def _start_assembly(self, attributes: Mapping[str, str], position: ElementPosition) -> None:
        if attributes.get("computer"):
            self._machine = ReportedMachine(node=attributes["computer"])
        text = attributes.get("start-rtf", "")
        if not text and attributes.get("run-date"):
            text = f"{attributes['run-date']} {attributes.get('run-time', '')}".strip()
        if text:
            self._start = take_start(self._header, text, position)

    def _case(self, attributes: Mapping[str, str], position: ElementPosition) -> None:
        path = attributes.get("type", "")
        name = attributes.get("name", "").strip() or attributes.get("method", "") or "unnamed"
        name = name.removeprefix(f"{path}.") or name
        values = CaseValues(position, path, name)
        outcome = values.outcome(attributes, ("result",))
        self.ready.append(
            Case(
                path=path,
                name=attributes.get("method") or without_parameters(name),
                variant=name,
                outcome=outcome,
                total_time=values.seconds(self._durations, attributes, ("time-rtf", "time"), outcome),
                started_at=values.start(attributes, ("start-rtf",), None) or self._start,
                location=attributes.get("source-file", ""),
                machine=self._machine,
                remarks=tuple(values.remarks),
            )
        )
