"""Reads JUnit XML."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from xml.etree import ElementTree

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files.report import Case, Header, Machine, Outcome, Remark


class JUnitReport:
    """A test run in JUnit XML, which gives the start and the duration of each test."""

    format_name = "JUnit XML"

    def __init__(self, path: Path) -> None:
        self._path = path
        self.header = Header()

    @staticmethod
    def looks_like(head: bytes) -> bool:
        """Return whether a file that begins with `head` is of this format."""
        return head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<") and b"<testsuite" in head

    def cases(self) -> Iterator[Case]:
        """Yield the test cases. Raises InvalidInput."""
        self.header = Header()
        suite: dict[str, str] = {}
        begun: datetime | None = None
        try:
            for event, element in ElementTree.iterparse(self._path, ("start", "end")):  # noqa: S314  # the user's own file
                if event == "start" and element.tag == "testsuite":
                    suite, begun = dict(element.attrib), _time(element.get("timestamp"))
                    self.header.suites += 1
                    if self.header.started_at is None:
                        self.header.started_at = begun
                elif event == "end" and element.tag == "testcase":
                    case = _case(element, suite, begun)
                    if begun is not None:
                        begun += timedelta(seconds=case.total_time or 0.0)
                    yield case
                if event == "end":
                    element.clear()
        except ElementTree.ParseError as error:
            raise InvalidInput(f"it is not valid XML: {error}") from None


def _case(element: ElementTree.Element, suite: dict[str, str], begun: datetime | None) -> Case:
    name, took = element.get("name", ""), _number(element.get("time"))
    outcome = Outcome.PASSED
    for tag in ("failure", "error", "skipped"):
        if element.find(tag) is not None:
            outcome = Outcome.SKIPPED if tag == "skipped" else Outcome.FAILED
    remarks = () if took is not None else (Remark("unread time", f"{name}: {element.get('time')}"),)
    return Case(
        path=element.get("classname", ""),
        name=name.partition("[")[0] or name,
        variant=name,
        outcome=outcome,
        total_time=took,
        started_at=begun,
        location=element.get("file", ""),
        machine=Machine(node=suite.get("hostname")),
        remarks=remarks,
    )


def _time(text: str | None) -> datetime | None:
    try:
        return datetime.fromisoformat(text or "")
    except ValueError:
        return None


def _number(text: str | None) -> float | None:
    try:
        value = float((text or "").replace(",", ""))
    except ValueError:
        return None
    return value if 0.0 <= value < 1e9 else None
