"""The tables of a report: their columns, rows and cells as text. No I/O.

A row holds numbers and texts. The page has the first rows as HTML; its script shows, searches and saves all of them.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

import msgspec

from smartmob import duration_text
from smartmob.duration_text import NOTHING
from smartmob.turrets.model import ErrorText, FailedStats, Interval, Member, Summary, TimerStats
from smartmob.turrets.report.evidence import FEW_ABOVE, values_above

SHARES = ("50", "80", "90", "95", "99", "99.9", "99.99")
SHOWN_ROWS = 51
"""Rows that a page has as HTML: a multiple of the three rows of a timer in the comparison of two runs."""
FEW_SYMBOL = "*"
_SAME_SHARE = 0.005
"""Two values that differ by a smaller share count as the same."""
_SIGNIFICANT_DIGITS = 6  # of numbers in the data of the page
HIDDEN = "hidden"
"""The kind of a column that is not shown: its numbers are used for marks, and in the CSV of the table."""
_DURATIONS = (
    *(("min", "seconds"), ("avg", "seconds")),
    *((f"p{share}", "percentile") for share in SHARES),
    *(("max", "seconds"), ("stdev", "seconds"), ("samples", HIDDEN)),
)
_STATISTICS = (
    *(("count", "number"), ("OK", "number"), ("failed", "number"), ("failed %", "share"), ("per s", "number")),
    *_DURATIONS,
)
_FAILURES = (("failed", "number"), ("without duration", "number"), *_DURATIONS)
_FAILED_SHARES = ("50", "99")  # of an interval
_FAILED_IN_INTERVAL = (*((f"failed p{share}", "percentile") for share in _FAILED_SHARES), ("failed samples", HIDDEN))
_ERRORS = (
    *(("timer", "text"), ("kind", "word"), ("code", "word"), ("error", "text"), ("count", "number")),
    ("of its timer", "share"),
)
_TURRETS = (
    *(("turret", "text"), ("uuid", "left"), ("cannons", "number"), ("script", "text"), ("rampup", "seconds")),
    *(("at the end", "left"), ("last status at", "left"), ("lost", "lost"), ("busiest process", "share")),
    ("longest lag", "seconds"),
)
_WITHOUT_END = ("aborted", "killed")
"""Statuses with which a turret ends before its run does."""

Cell = str | float | int | None


class ReportTable(msgspec.Struct, frozen=True):
    """A table; a column has a name and a kind, by which its cells are shown."""

    columns: Sequence[tuple[str, str]]
    rows: list[list[Cell]] = msgspec.field(default_factory=list)

    def document(self) -> dict[str, Any]:
        """Return the table as data for the script of the page."""
        return {"columns": self.columns, "rows": [[_short(cell) for cell in row] for row in self.rows]}

    def shown(self) -> list[list[tuple[str, str, str]]]:
        """Return the first rows; a cell is the name of its column, its kind and its text."""
        return [self._shown(row) for row in self.rows[:SHOWN_ROWS]]

    def shown_columns(self) -> list[tuple[str, str]]:
        """Return the columns without hidden ones."""
        return [column for column in self.columns if column[1] != HIDDEN]

    def _shown(self, row: Sequence[Cell]) -> list[tuple[str, str, str]]:
        cells = {name: cell for (name, _), cell in zip(self.columns, row, strict=True)}
        return [
            (name, kind, cell_text(kind, name, cells[name], cells.get(_samples_of(name))))
            for name, kind in self.shown_columns()
        ]


def timers(summaries: Sequence[Summary], names: Iterable[str]) -> ReportTable:
    """Return the statistics of the timers of a run; of two runs, also the changes of A against B."""
    if len(summaries) == 1:
        found = [[name, *_statistics(summaries[0].timers[name])] for name in names if name in summaries[0].timers]
        return ReportTable((("timer", "text"), *_STATISTICS), found)
    rows: list[list[Cell]] = []
    for name in names:
        both = [summary.timers.get(name) for summary in summaries]
        rows += [[name, "AB"[index], *_statistics(stats)] for index, stats in enumerate(both)]
        rows.append([name, "change", *_changes(_statistics(both[0]), _statistics(both[1]))])
    return ReportTable((("timer", "text"), ("run", "left"), *_STATISTICS), rows)


def failures(summaries: Sequence[Summary], names: Iterable[str]) -> ReportTable:
    """Return the durations of the failures of each timer that failed; of two runs, also the changes."""
    rows: list[list[Cell]] = []
    two = len(summaries) == 2
    for name in names:
        found = [summary.timers.get(name) for summary in summaries]
        if not any(_is_kept_apart(stats) for stats in found):
            continue
        both = [_failures(stats) for stats in found]
        rows += [[name, *(["AB"[index]] if two else []), *cells] for index, cells in enumerate(both)]
        if two:
            rows.append([name, "change", *_changes(*both)])
    return ReportTable((("timer", "text"), *([("run", "left")] if two else []), *_FAILURES), rows)


def intervals(found: Iterable[Interval]) -> ReportTable:
    """Return the statistics of one timer over time."""
    rows = [[each.at, *_statistics(each.stats), *_failed_in_interval(each.stats.failed)] for each in found]
    return ReportTable((("from", "seconds"), *_STATISTICS, *_FAILED_IN_INTERVAL), rows)


def errors(found: Iterable[tuple[str, ErrorText]], counts: Mapping[str, int]) -> ReportTable:
    """Return the table of errors of timers, with the share of each in the `counts` of values of its timer."""
    rows: list[list[Cell]] = [
        [name, each.kind, each.code, each.text, each.count, each.count / max(counts.get(name, 0), 1)]
        for name, each in found
    ]
    return ReportTable(_ERRORS, rows)


def turrets(members: Iterable[Member], *, ended: bool) -> ReportTable:
    """Return the table of the turrets of a run."""
    rows: list[list[Cell]] = []
    for member in members:
        lost = " ".join(
            f"from {_clock(each.since)}{f' to {_clock(each.until)}' if each.until is not None else ''}"
            for each in member.lost
        )
        health = (member.busiest, member.lag) if member.ours else (None, None)
        rows.append(
            [
                *(member.name, member.uuid[:8], member.cannons, member.script, member.rampup),
                *(outcome(member) if ended else member.status, time_text(member.status_at), lost, *health),
            ]
        )
    columns = _TURRETS if ended else [(("status" if name == "at the end" else name), kind) for name, kind in _TURRETS]
    return ReportTable(columns, rows)


def outcome(member: Member) -> str:
    """Return in one word how a turret ended in a finished run, in which its last status precedes the end."""
    if member.status.strip().lower() in _WITHOUT_END:
        return member.status
    if member.lost and member.lost[-1].until is None:
        return "lost"
    return "done"


def cell_text(kind: str, name: str, cell: Cell, samples: Cell = None) -> str:
    """Return the text of a cell; that of a percentile with few of its `samples` above it is marked."""
    if cell is None:
        return NOTHING
    if isinstance(cell, str):
        return cell
    if kind == "share":
        return f"{cell:.2%}"
    if kind == "percentile":
        share = float(name.rpartition("p")[2])
        few = isinstance(samples, int) and values_above(samples, share) < FEW_ABOVE
        return duration_text.seconds(cell) + (FEW_SYMBOL if few else "")
    return duration_text.seconds(cell) if kind == "seconds" else number_text(cell)


def number_text(value: float) -> str:
    """Return a number as text: whole, or with two digits after the point below 100; more for those near to 0."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}"
    return f"{value:,.2f}" if abs(value) >= 0.1 else f"{value:.{min(1 - math.floor(math.log10(abs(value))), 9)}f}"


def size_text(value: int) -> str:
    """Return a number of bytes as text, with a unit of 1,000s and three digits."""
    size, units = float(value), ["B", "kB", "MB", "GB"]
    while size >= 999.5 and len(units) > 1:
        size /= 1000
        del units[0]
    return f"{size:,.0f} {units[0]}" if units[0] == "B" or size >= 100 else f"{size:.3g} {units[0]}"


def time_text(moment: datetime | None) -> str:
    """Return a time with its day, in UTC."""
    return NOTHING if moment is None else f"{moment:%Y-%m-%d %H:%M:%S} UTC"


def change(new: float | None, old: float | None) -> str:
    """Return the change of a value in percent, "same" below half a percent, or "" if there is nothing to compare."""
    if new is None or not old:
        return ""
    share = new / old - 1
    return "same" if abs(share) < _SAME_SHARE else f"{share:+.1%}"


def _clock(moment: datetime) -> str:
    return f"{moment:%H:%M:%S} UTC"


def _statistics(stats: TimerStats | None) -> list[Cell]:
    if stats is None:
        return [None] * len(_STATISTICS)
    failed = stats.errors / stats.count if stats.count else None
    counts = (stats.count, stats.count - stats.errors, stats.errors, failed, stats.rate)
    return [*counts, *_durations(stats, stats.samples)]


def _is_kept_apart(stats: TimerStats | None) -> bool:
    """Return whether a timer has failures that are not among its successes."""
    return stats is not None and stats.errors > stats.mixed


def _failures(stats: TimerStats | None) -> list[Cell]:
    if stats is None or stats.failed is None:
        return [0 if stats is None else stats.errors, *[None] * (len(_FAILURES) - 1)]
    return [stats.errors, stats.failed.untimed, *_durations(stats.failed, stats.failed.count)]


def _failed_in_interval(stats: FailedStats | None) -> list[Cell]:
    if stats is None:
        return [None] * len(_FAILED_IN_INTERVAL)
    return [*(stats.percentiles.get(share) for share in _FAILED_SHARES), stats.count]


def _durations(stats: TimerStats | FailedStats, samples: int) -> list[Cell]:
    percentiles = (stats.percentiles.get(share) for share in SHARES)
    return [stats.min, stats.avg, *percentiles, stats.max, stats.stdev, samples]


def _samples_of(name: str) -> str:
    """Return the name of the column with the number of samples of a percentile."""
    return "failed samples" if name.startswith("failed p") else "samples"


def _changes(new: Sequence[Cell], old: Sequence[Cell]) -> list[Cell]:
    pairs = zip(new, old, strict=True)
    return [change(*(cell if isinstance(cell, float | int) else None for cell in pair)) for pair in pairs]


def _short(cell: Cell) -> Cell:
    return float(f"{cell:.{_SIGNIFICANT_DIGITS}g}") if isinstance(cell, float) else cell
