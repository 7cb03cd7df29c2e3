"""Reads the tables of statistics that Locust writes (`--csv PREFIX`). No I/O but the given files.

Locust's manual describes them in "Retrieve test statistics in CSV format". They have percentiles that Locust computed,
and no samples. So they are stored unchanged: they cannot be added up, and no distribution is made from them.
"""

from __future__ import annotations

import csv
import math
import re
from bisect import bisect_left
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from itertools import pairwise
from statistics import median
from typing import BinaryIO

from msgspec.structs import replace

from smartmob.counts import counted
from smartmob.errors import InvalidInput
from smartmob.turrets.model import ALL_TRANSACTIONS, Doubt, ErrorText, FailedStats, RunPoint, TimerStats
from smartmob.turrets.names import timer_name
from smartmob.turrets.protocol import LONGEST_ERROR, MOST_TIMERS
from smartmob.turrets.result_files.idle_spans import BACK_SECONDS, back_doubt, gaps_between, idle_doubts
from smartmob.turrets.result_files.imported_run import MOST_ERRORS, MOST_POINTS, GivenStats
from smartmob.turrets.result_files.load_sample import NOT_READ, FileAccount, csv_text, is_valid_time

HISTORY, STATS, FAILURES, EXCEPTIONS = "_stats_history.csv", "_stats.csv", "_failures.csv", "_exceptions.csv"
"""The ends of the names of the files of one test."""

_AGGREGATED = ("Aggregated", "Total")
"""The name of the row of all requests; the second is that of Locust before version 1."""
_NO_TYPE = "None "
"""The type of the row of all requests: empty, or None in old versions."""
_STATUS = re.compile(r"HTTPError\W*(\d{3})\b|status(?:_code| code)?\W{0,3}(\d{3})\b|^(\d{3}) (?:Client|Server) Error")
_TOO_MANY = f"rows of timers beyond {MOST_TIMERS}"
_MILLISECONDS = 1000.0  # in a second
_FIRST_COLUMNS = {
    HISTORY: ("Timestamp", "User Count"),
    STATS: ("Type", "Name", "Request Count"),
    FAILURES: ("Method", "Name", "Error"),
    EXCEPTIONS: ("Count", "Message", "Traceback"),
}
_OLD_COLUMNS = (
    (STATS, ("Type", "Name", "# requests")),
    (STATS, ("Method", "Name", "# requests")),
    (HISTORY, ("Type", "Name", "Timestamp")),
)
"""The first columns of tables of Locust before version 1; the second one is that of `_requests.csv`."""
_SHORTEST = 0.001
"""Seconds: if the longest request took at least this long, a row whose percentiles are all 0 stands for no request."""


def recognised(head: str) -> bool:
    """Return whether a text begins as one of the tables."""
    return kind_of(head) is not None


def kind_of(head: str) -> str | None:
    """Return which table begins with a text: the end of the name of its file; None for other texts."""
    cells = next(csv.reader([head.lstrip("\ufeff").partition("\n")[0].rstrip("\r")]), [])
    layouts = (*_FIRST_COLUMNS.items(), *_OLD_COLUMNS)
    return next((kind for kind, first in layouts if tuple(cells[: len(first)]) == first), None)


def read(tables: Mapping[str, BinaryIO], account: FileAccount) -> GivenStats:
    """Return the statistics of the tables of one test, by the ends of their names. Raises InvalidInput."""
    given = GivenStats()
    if HISTORY in tables:
        _read_history(tables[HISTORY], given, account)
    if STATS in tables:
        _read_stats(tables[STATS], given, account)
    if FAILURES in tables:
        _read_failures(tables[FAILURES], given, account)
    if EXCEPTIONS in tables:
        count = sum(int(_number(row["count"]) or 0) for row in _rows(tables[EXCEPTIONS], account))
        if count:
            account.note(f"{counted(count, 'exception')} in Locust's users: no requests, and not counted.")
    if ALL_TRANSACTIONS not in given.timers:
        raise InvalidInput(f"has no row {_AGGREGATED[0]}; import {STATS} or {HISTORY} of the same test with it")
    given.timers = {ALL_TRANSACTIONS: given.timers.pop(ALL_TRANSACTIONS)} | dict(sorted(given.timers.items()))
    return given


def _rows(file: BinaryIO, account: FileAccount) -> list[dict[str, str]]:
    """Return the whole rows of a table."""
    found = []
    with csv_text(file) as text:
        rows = csv.DictReader(text)
        for row in rows:
            if None in row or any(cell is None for cell in row.values()):
                cells = ",".join(str(cell) for cell in row.values() if cell is not None)
                account.remarks.add(NOT_READ, f"line {rows.line_num}: {cells}")
            else:
                found.append({name.strip().lower(): cell.strip() for name, cell in row.items()})
    return found


def _read_stats(file: BinaryIO, given: GivenStats, account: FileAccount) -> None:
    """Read the totals of all timers, which have percentiles, unlike those of the history."""
    for row in _rows(file, account):
        name = _timer(row)
        if name not in given.timers and len(given.timers) >= MOST_TIMERS:
            account.remarks.add(_TOO_MANY, name)
            continue
        given.timers[name] = _stats(row, "", "requests/s")
        found = given.timers[name]
        if name == ALL_TRANSACTIONS and given.duration is None:
            given.duration = found.count / found.rate if found.rate > 0 else None
            account.note("The files do not tell when the test began; its duration is that of its rate.")


def _read_history(file: BinaryIO, given: GivenStats, account: FileAccount) -> None:
    rows: dict[str, list[_Row]] = {}
    for row in _rows(file, account):
        at, name = _number(row["timestamp"]), _timer(row)
        if at is None or not is_valid_time(at):
            account.remarks.add(NOT_READ, ",".join(row.values()))
            continue
        if name not in rows and len(rows) >= MOST_TIMERS:
            account.remarks.add(_TOO_MANY, name)
            continue
        account.users.add(at, _number(row.get("user count", "")))
        found = rows.setdefault(name, [])
        if found and at <= found[-1][0] - BACK_SECONDS and not account.doubts:
            account.doubts.append(back_doubt("at least once", found[-1][0] - at, at))
        if found and at <= found[-1][0]:
            found.pop()  # the last row can be written a second time, when the test ends
        found.append((at, row))
    if not rows:
        return
    times = sorted({at for found in rows.values() for at, _ in found})
    first = times[0]
    usual = median(after - before for before, after in pairwise(times)) if len(times) > 1 else 0.0
    given.started_at, given.duration = datetime.fromtimestamp(first, UTC), max(times[-1] - first, 1.0)
    account.note(
        "Rates over time are the differences of Locust's counts; percentiles over time are those that it computed of "
        "the ten seconds before."
    )
    step = max(1, math.ceil(given.duration / MOST_POINTS))
    for name, found in rows.items():
        given.points[name] = _points(times, step, found)
        total = _stats(found[-1][1], "total ", "")
        anew = _anew(found)
        given.timers[name] = replace(total, rate=total.count / max(times[-1] - (anew or first), 1.0))
        if name == ALL_TRANSACTIONS:
            account.doubts += idle_doubts(gaps_between(times, usual), total.count, given.duration)
            if anew is not None:
                account.doubts.append(
                    Doubt(
                        "warning",
                        f"The counts of Locust begin again at zero {anew - first:,.0f} s after the start: all "
                        "totals are of the time after that. Either Locust reset them when all users had started, or "
                        "the file has several runs.",
                    )
                )


def _anew(rows: Sequence[_Row]) -> float | None:
    """Return the time from which the counts of a timer begin anew, or None if they only grow."""
    counts = [_count(row, "request count", prefix="total ") for _, row in rows]
    falls = [index for index in range(1, len(rows)) if counts[index] < counts[index - 1]]
    return rows[falls[-1] - 1][0] if falls else None


_Row = tuple[float, dict[str, str]]
"""A row of a history with its time, in seconds since 1970."""


def _points(times: Sequence[float], step: int, rows: Sequence[_Row]) -> list[RunPoint]:
    """Return the points of a timer. `times` are those of all rows, the first of which begins the test.

    A row is written at the end of the span that it describes, which begins at the previous row.
    """
    found: dict[int, RunPoint] = {}
    counts = failures = 0.0
    before = times[0]
    for at, row in rows:
        if at > before + 1 and not counts:
            before = max(times[bisect_left(times, at) - 1], before)  # the first row of a timer
        count, failed = (_count(row, name, prefix="total ") for name in ("request count", "failure count"))
        # Locust can reset its counts when all users have been started.
        more, more_failed = (count - counts, failed - failures) if count >= counts else (count, failed)
        for second in range(int(before - times[0]), int(at - times[0])):
            share = 1 / (at - before) / step
            _add(found, second // step * step, (more * share, max(more_failed, 0) * share), row)
        counts, failures, before = count, failed, at
    return [found[second] for second in sorted(found)]


def _add(found: dict[int, RunPoint], second: int, rates: tuple[float, float], row: Mapping[str, str]) -> None:
    """Add rates to a point, whose percentiles become those of the row."""
    known = found.get(second)
    longest = _seconds(row, "total max response time", "max response time") or 0.0
    some = _seconds(row, "100%") or longest < _SHORTEST
    p50, p95, p99, maximum = (_seconds(row, name) if some else None for name in ("50%", "95%", "99%", "100%"))
    found[second] = RunPoint(
        at=second,
        rate=rates[0] + (known.rate if known else 0.0),
        error_rate=rates[1] + (known.error_rate if known else 0.0),
        p50=p50,
        p95=p95,
        p99=p99,
        maximum=maximum,
    )


def _read_failures(file: BinaryIO, given: GivenStats, account: FileAccount) -> None:
    for row in _rows(file, account):
        name = _timer({"type": row["method"], "name": row["name"]})
        count = int(_number(row.get("occurrences", "")) or 0)
        text = row["error"][:LONGEST_ERROR] or "failed"
        for timer in (name, ALL_TRANSACTIONS):
            errors = given.errors.setdefault(timer, [])
            if len(errors) < MOST_ERRORS:
                errors.append(ErrorText(text, count, code=_code(text)))
            else:
                account.left_out.add(f"errors beyond {MOST_ERRORS} of a timer are left out", text)
    for errors in given.errors.values():
        errors.sort(key=lambda error: -error.count)


def _code(text: str) -> str:
    """Return the HTTP status of an error of requests or of Locust's fast client, or nothing."""
    found = _STATUS.search(text)
    return next((code for code in found.groups() if code), "") if found else ""


def _timer(row: Mapping[str, str]) -> str:
    name, kind = row["name"], row.get("type", row.get("method", ""))
    if name in _AGGREGATED and not kind.strip(_NO_TYPE):
        return ALL_TRANSACTIONS
    return timer_name(f"{kind} {name}".strip())


def _stats(row: Mapping[str, str], prefix: str, rate: str) -> TimerStats:
    """Return the statistics of a row, whose columns begin with `prefix`; old names begin with "# "."""
    count, errors = (int(_count(row, name, prefix)) for name in ("request count", "failure count"))
    percentiles = {name.rstrip("%"): _seconds(row, name) for name in row if name.endswith("%") and name != "100%"}
    if prefix:  # percentiles of a history cover only the last ten seconds
        percentiles = {"50": _seconds(row, f"{prefix}median response time")}
    some = count > 0
    return TimerStats(
        count=count,
        errors=errors,
        rate=_number(row.get(rate, "")) or 0.0,
        min=_seconds(row, f"{prefix}min response time", "min response time") if some else None,
        avg=_seconds(row, f"{prefix}average response time", "average response time") if some else None,
        percentiles={name: value for name, value in percentiles.items() if value is not None} if some else {},
        max=_seconds(row, f"{prefix}max response time", "max response time") if some else None,
        stdev=None,
        samples=count,
        mixed=errors,
        failed=_untimed(errors) if errors else None,
    )


def _count(row: Mapping[str, str], name: str, prefix: str) -> float:
    """Return a count of requests or failures; its column is `# requests` or `# failures` in old tables."""
    old = f"# {name.removesuffix(' count')}s"
    return next((value for each in (prefix + name, old) if (value := _number(row.get(each, ""))) is not None), 0.0)


def _untimed(errors: int) -> FailedStats:
    return FailedStats(count=0, untimed=errors, min=None, avg=None, percentiles={}, max=None, stdev=None)


def _seconds(row: Mapping[str, str], *names: str) -> float | None:
    """Return the first of some columns that has a duration in milliseconds, in seconds, or None."""
    values = (_number(row.get(name, "")) for name in names)
    return next((value / _MILLISECONDS for value in values if value is not None), None)


def _number(text: str) -> float | None:
    try:
        value = float(text)
    except ValueError:
        return None
    return value if 0 <= value < float("inf") else None
