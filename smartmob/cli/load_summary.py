"""The summary of a load test as tables for a terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from smartmob.cli import (
    printing,
    run_conditions,
    thresholds,
)
from smartmob.counts import counted

_MOST_ERRORS = 10  # rows of the table of errors


def print_summary(summary: Mapping[str, Any], columns: int) -> None:
    """Print the statistics of a run, its errors and the doubts about it, for a terminal of `columns` columns."""
    title = (
        f"Run {summary['id']}: {counted(summary['transactions'], 'transaction')}, {counted(summary['errors'], 'error')}"
    )
    shown = _shown_durations(columns)
    after = f", after {summary['warm_up']:g} s of warm-up" if summary["warm_up"] else ""
    printing.print_lines([printing.plain(f"{title}, {printing.rate(summary['rate'])}{after}", "bold")])
    printing.print_table(
        "",
        ("Timer", ">OK", ">Failed", *(f">{name}" for name in shown)),
        (
            (name, f"{row['count'] - row['errors']:,}", f"{row['errors']:,}", *_durations(row, shown))
            for name, row in summary["timers"].items()
        ),
    )
    run_conditions.print_results(summary.get("conditions") or ())
    _print_failures(summary, shown)
    trust = summary["trust"]
    for fact in trust["facts"]:
        printing.print_sentence(fact)
    if trust["doubts"]:
        rows = ((doubt["level"], doubt["what"]) for doubt in trust["doubts"])
        printing.print_table(f"Can this run be trusted? {trust['verdict'].capitalize()}", ("Level", "Doubt"), rows)
    else:
        printing.print_sentence("Can this run be trusted? Yes: no problems were found.")


def _print_failures(summary: Mapping[str, Any], shown: Sequence[str]) -> None:
    """Print the bytes of a run, the durations of its failures, and the errors of each timer with kind and code."""
    if summary["sent"] or summary["received"]:
        whole = ", in the whole run with its warm-up" if summary["warm_up"] else ""
        printing.print_sentence(
            f"{printing.size(summary['received'])} received, {printing.size(summary['sent'])} sent{whole}"
        )
    failed = {
        name: row["failed"] for name, row in summary["timers"].items() if row["failed"] and row["failed"]["count"]
    }
    if failed:
        rows = ((name, f"{row['count']:,}", *_durations(row, shown)) for name, row in failed.items())
        printing.print_table("Durations of failures", ("Timer", ">Failed", *(f">{name}" for name in shown)), rows)
    by_timer = {thresholds.ALL: summary["error_texts"], **summary["timer_errors"]}
    errors = [(name, error) for name, found in by_timer.items() for error in found]
    errors.sort(key=lambda found: -found[1]["count"])
    if errors:
        texts = (
            (f"{each['count']:,}", name, each["kind"], each["code"], each["text"])
            for name, each in errors[:_MOST_ERRORS]
        )
        printing.print_table("Errors", (">Count", "Timer", "Kind", "Code", "Error"), texts)
    more = len(errors) - _MOST_ERRORS + summary["other_error_texts"]
    if more > 0:
        printing.print_sentence(f"and {counted(more, 'more different error')}; see the report")


_DURATIONS = ("Min", "Avg", "p50", "p90", "p95", "p99", "p99.9", "Max", "Stdev")


_NARROW_DURATIONS = ("Avg", "p50", "p95", "p99", "Max")


_WIDE_COLUMNS = 116  # of a terminal with room for all durations


def _shown_durations(columns: int) -> tuple[str, ...]:
    """Return the durations that fit a terminal with `columns` columns: a cut cell would lose its unit."""
    return _DURATIONS if columns >= _WIDE_COLUMNS else _NARROW_DURATIONS


def _durations(row: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    """Return the cells of durations by their names."""
    values = (row["percentiles"].get(name[1:]) if name.startswith("p") else row[name.lower()] for name in names)
    return [printing.seconds(value) for value in values]
