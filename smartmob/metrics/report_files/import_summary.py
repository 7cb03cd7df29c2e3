"""The account of an import: what was seen, left out and not understood, each kind with a first example."""

from __future__ import annotations

import msgspec

from smartmob.tally import LONGEST_EXAMPLE, Tally

__all__ = ["LONGEST_EXAMPLE", "ImportSummary", "Tally"]


class ImportSummary(msgspec.Struct):
    """The account of one file.

    `left_out` has the cases that are not stored: "skipped", "failed" and "refused". `remarks` has what was not
    understood or replaced, by the kinds of the readers.
    """

    format_name: str
    suites: int = 0
    cases: int = 0
    left_out: Tally = msgspec.field(default_factory=Tally)
    remarks: Tally = msgspec.field(default_factory=Tally)

    @property
    def understood(self) -> bool:
        """Return whether nothing was replaced, refused or not understood."""
        return not self.remarks.total and not self.left_out.count(REFUSED)


SKIPPED = "skipped"
FAILED = "failed"
REFUSED = "refused"
