"""Outcomes: the values of a timer, with successes and failures separate. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from smartmob.turrets.protocol import Slice
from smartmob.turrets.slices import NO_KIND, Distribution

MOST_CODES = 20  # codes of errors of a point of time
OTHER_CODES, UNKNOWN_KIND = "(others)", "(unknown)"
"""The names of the codes beyond this limit, and of errors with only a known text, such as those of OCT."""


class Outcomes:
    """The distributions `ok` and `failed` of one timer.

    All errors are counted in `failed`. `mixed` is the number of failures whose values are nevertheless in `ok`, because
    slices of version 1 of the protocol do not separate them.
    """

    __slots__ = ("failed", "mixed", "ok")

    def __init__(self) -> None:
        self.ok = Distribution()
        self.failed = Distribution()
        self.mixed = 0

    @property
    def count(self) -> int:
        """Return the total count: successes, failures, and failures without a duration."""
        return self.ok.count + self.failed.count + self.failed.untimed

    @property
    def errors(self) -> int:
        """Return the number of failures."""
        return self.failed.failed

    @property
    def late(self) -> int:
        """Return the number of late starts."""
        return self.ok.late + self.failed.late

    def merge(self, part: Slice) -> None:
        """Add the values of a slice. Raises InvalidInput if its histogram cannot be read."""
        if part.failed or not part.errors:
            (self.failed if part.failed else self.ok).merge(part)
            return
        self.ok.merge(part)
        for text, times in part.errors.items():
            self.failed.fail(text, times)
            self.mixed += times
        self.ok.errors.clear()

    def absorb(self, other: Outcomes) -> None:
        """Add the values of another timer or span."""
        self.ok.absorb(other.ok)
        self.failed.absorb(other.failed)
        self.mixed += other.mixed

    def slices(self, second: int, timer: str) -> list[Slice]:
        """Return the values as the slices of a second: none, one, or one of each outcome."""
        made = []
        if self.ok.count:
            made.append(self.ok.slice(second, timer))
        if self.failed.count or self.failed.untimed:
            made.append(self.failed.slice(second, timer, failed=True))
        return made

    def codes(self) -> dict[str, int]:
        """Return the count of failures by code, or by kind without one, the most frequent first."""
        counts: Counter[str] = Counter()
        for text, count in self.failed.errors.items():
            kind = self.failed.kinds.get(text, NO_KIND)
            counts[kind.code or kind.kind or UNKNOWN_KIND] += count
        found = dict(counts.most_common(MOST_CODES))
        if (others := counts.total() - sum(found.values())) > 0:
            found[OTHER_CODES] = others
        return found


def in_version_1(parts: Iterable[Slice]) -> list[Slice]:
    """Return slices as a headquarters with version 1 of the protocol reads them.

    It adds up the slices of one timer, counts only errors of the timer "", and does not know failures without a
    duration: these become values of 0 seconds.
    """
    made: list[Slice] = []
    for part in parts:
        values = Distribution()
        values.merge(part)
        values.record_many([0.0] * part.untimed)
        values.untimed = 0
        values.kinds = {}
        if part.timer:
            values.errors = {}
        made.append(values.slice(part.second, part.timer))
    return made
