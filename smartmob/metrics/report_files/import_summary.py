"""The account of an import: the numbers of cases that were seen, left out and not understood, with an example of each
kind.
"""

from __future__ import annotations

import msgspec

from smartmob.tally import LONGEST_EXAMPLE, Tally

__all__ = ["LONGEST_EXAMPLE", "ImportSummary", "Tally"]


class ImportSummary(msgspec.Struct):
    """The account of one file.

    `left_out` has the cases that are not stored: "skipped", "failed" and "refused". `remarks` has the values that were
    not understood or were replaced, by the readers' kinds of remarks.
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
