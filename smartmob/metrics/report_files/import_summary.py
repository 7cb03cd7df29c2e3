"""The account of an import: what was seen, left out and not understood, each kind with a first example."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LONGEST_EXAMPLE = 300  # characters


class Tally:
    """Counts by kind, in the order in which the kinds came, each with its first example."""

    def __init__(self) -> None:
        self._kinds: dict[str, tuple[int, str]] = {}

    def add(self, kind: str, example: str) -> None:
        """Count one more of a kind."""
        count, first = self._kinds.get(kind, (0, example[:LONGEST_EXAMPLE]))
        self._kinds[kind] = count + 1, first

    def count(self, kind: str) -> int:
        """Return the number of a kind."""
        return self._kinds.get(kind, (0, ""))[0]

    @property
    def total(self) -> int:
        """Return the number of all kinds together."""
        return sum(count for count, _ in self._kinds.values())

    def items(self) -> list[tuple[str, int, str]]:
        """Return kind, number and first example of each kind."""
        return [(kind, count, example) for kind, (count, example) in self._kinds.items()]

    def document(self) -> dict[str, dict[str, Any]]:
        """Return the counts for JSON."""
        return {kind: {"count": count, "example": example} for kind, count, example in self.items()}


@dataclass
class ImportSummary:
    """The account of one file.

    `left_out` has the cases that are not stored: "skipped", "failed" and "refused". `remarks` has what was not
    understood or replaced, by the kinds of the readers.
    """

    format_name: str
    suites: int = 0
    cases: int = 0
    left_out: Tally = field(default_factory=Tally)
    remarks: Tally = field(default_factory=Tally)

    @property
    def understood(self) -> bool:
        """Return whether nothing was replaced, refused or not understood."""
        return not self.remarks.total and not self.left_out.count(REFUSED)


SKIPPED = "skipped"
FAILED = "failed"
REFUSED = "refused"
