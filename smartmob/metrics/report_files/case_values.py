"""The values of one test case, with a remark for each that was not understood."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, tzinfo

from smartmob.metrics.report_files.outcome_words import outcome_of_word
from smartmob.metrics.report_files.report import CaseOutcome, Header, Remark
from smartmob.metrics.report_files.time_values import Durations, moment
from smartmob.metrics.report_files.xml_elements import ElementPosition

UNREAD_TIME = "unread time"
REPLACED_TIMESTAMP = "replaced timestamp"
UNKNOWN_OUTCOME = "unknown outcome"
MISSING_NAME = "missing name"
ALTERED_NAME = "characters of a name"
COUNTS = "counts differ"

EXAMPLE_CHARACTERS = 200
"""The longest text of a remark, in characters; longer ones are cut."""


MAX_REMARKS = 10_000
"""The maximum number of remarks of a file that belong to no case; further ones are left out to bound the memory."""


def add_remark(header: Header, kind: str, text: str) -> None:
    """Add a remark that belongs to no case."""
    if len(header.remarks) < MAX_REMARKS:
        header.remarks.append(Remark(kind, shortened(text)))


def shortened(text: str, characters: int = EXAMPLE_CHARACTERS) -> str:
    """Return `text`, cut to the longest text of a remark."""
    return text if len(text) <= characters else f"{text[:characters]}…"


class CaseValues:
    """Reads values of the test case `path` and `name`, and keeps the remarks."""

    def __init__(self, position: ElementPosition, path: str, name: str) -> None:
        self.remarks: list[Remark] = []
        self._where = shortened(f"line {position.line}, {path}{'.' if path else ''}{name}", EXAMPLE_CHARACTERS // 2)

    def remark(self, kind: str, text: str) -> None:
        """Add a remark."""
        self.remarks.append(Remark(kind, shortened(f"{self._where}: {text}")))

    def outcome(
        self, attributes: Mapping[str, str], names: Iterable[str], found: Iterable[CaseOutcome] = ()
    ) -> CaseOutcome:
        """Return the outcome by the words in the attributes `names` and by the outcomes in `found`; a failure wins."""
        outcomes = set(found)
        for name in names:
            word = attributes.get(name, "").strip()
            outcome = outcome_of_word(word) if word else None
            if outcome is not None:
                outcomes.add(outcome)
            elif word:
                self.remark(UNKNOWN_OUTCOME, f'{name}="{word}"')
        for outcome in (CaseOutcome.FAILED, CaseOutcome.SKIPPED):
            if outcome in outcomes:
                return outcome
        return CaseOutcome.PASSED

    def seconds(
        self, durations: Durations, attributes: Mapping[str, str], names: Iterable[str], outcome: CaseOutcome
    ) -> float | None:
        """Return the duration in the first of the attributes `names`, or None.

        A remark says that a case has no duration, but only for a passed case, whose cost is used.
        """
        for name in names:
            text = attributes.get(name, "").strip()
            if text:
                seconds = durations.seconds(text)
                if seconds is None:
                    self.remark(UNREAD_TIME, f'{name}="{text}"')
                return seconds
        if outcome is CaseOutcome.PASSED:
            self.remark(UNREAD_TIME, "it has no time")
        return None

    def start(self, attributes: Mapping[str, str], names: Iterable[str], zone: tzinfo | None) -> datetime | None:
        """Return the start in the first of the attributes `names`, in `zone` if it has none; None without a start."""
        for name in names:
            text = attributes.get(name, "").strip()
            if text:
                begun = moment(text)
                if begun is None:
                    self.remark(REPLACED_TIMESTAMP, f'{name}="{text}"')
                elif begun.tzinfo is None:
                    begun = begun.replace(tzinfo=zone)
                return begun
        return None


def take_start(header: Header, text: str, position: ElementPosition) -> datetime | None:
    """Return the start of a run, and keep the earliest in the header; None without one, with a remark if unreadable."""
    start = moment(text)
    if start is not None:
        header.started_at = earliest(header.started_at, start)
    elif text:
        add_remark(header, REPLACED_TIMESTAMP, f'line {position.line}: start="{text}"')
    return start


def earliest(first: datetime | None, begun: datetime) -> datetime:
    """Return the earlier of two starts. A time with and one without a zone cannot be compared: then the first stays."""
    if first is None or ((first.tzinfo is None) == (begun.tzinfo is None) and begun < first):
        return begun
    return first
