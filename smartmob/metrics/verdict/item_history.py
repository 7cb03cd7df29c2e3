"""The values of one test since its last change, as the change detection sees them."""

from __future__ import annotations

from bisect import insort
from typing import NamedTuple

import msgspec

from smartmob.metrics.verdict.robust_statistics import middle
from smartmob.metrics.verdict.scales import Scale


class HistoryPoint(NamedTuple):
    """The logarithm of a value without the shift of its run, that shift, and the name of the run."""

    log: float
    shift: float
    run: str = ""


class _Increase(NamedTuple):
    """A confirmed change for the worse: the level before it, and the name of the first run after it."""

    before: float
    run: str


class ItemHistory(msgspec.Struct):
    """The history of a test after its confirmed changes were found; all numbers are logarithms.

    `scale` is that of the test. `points` are the values since the last change, sorted. `residuals` are the distances
    of earlier values from the level of their time. `pending` is the last value, if it deviates. `rises` are those that
    were not undone.
    """

    scale: Scale
    points: list[float] = msgspec.field(default_factory=list)
    residuals: list[float] = msgspec.field(default_factory=list)
    pending: HistoryPoint | None = None
    rises: list[_Increase] = msgspec.field(default_factory=list)

    def __len__(self) -> int:
        return len(self.points) + len(self.residuals)

    @property
    def level(self) -> float:
        """Return the median of the values since the last change."""
        return middle(self.points)

    def add(self, log: float) -> None:
        """Add a value of the present level."""
        insort(self.points, log)

    def accept_pending(self) -> None:
        """Add the pending value to the history: it was an outlier."""
        if self.pending is not None:
            self.add(self.pending.log)
            self.pending = None

    def restart(self, first: HistoryPoint, *later: float) -> None:
        """Restart at a new level with the first value of it and later ones."""
        level = self.level
        self.residuals += [log - level for log in self.points]
        self.points = sorted((first.log, *later))
        self.pending = None
        self.rises = [rise for rise in (*self.rises, _Increase(level, first.run)) if rise.before < self.level]

    def distances(self) -> list[float]:
        """Return the distances of all values from their levels, sorted."""
        level = self.level
        return sorted([*self.residuals, *(log - level for log in self.points)])
