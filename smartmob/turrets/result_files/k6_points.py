"""Reads results of k6: JSON lines (`--out json`) and CSV (`--out csv`). No I/O but the given file.

k6's manual describes both in "Results output", pages "JSON" and "CSV". A point has the time at which its request ended.
"""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, BinaryIO

import msgspec

from smartmob.counts import counted
from smartmob.turrets.result_files.load_sample import (
    CUT_OFF,
    NO_NUMBER,
    NO_VALID_TIME,
    NOT_READ,
    FileAccount,
    LoadSample,
    csv_text,
    is_valid_time,
    json_lines,
)

_REQUESTS = {"http_req_duration": "", "grpc_req_duration": "gRPC "}
_NAMED = {"iteration_duration": "iteration", "ws_connecting": "WebSocket connect", "ws_session_duration": "WebSocket"}
_MILLISECONDS = 1000.0  # in a second
_TIME_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (0.0, 1.0))
"""The units of a time stamp of CSV by its size: from 1e17 on nanoseconds, then microseconds, milliseconds, seconds."""
_LONGEST_LINE = 16 * 1024 * 1024  # bytes
CSV_COLUMNS = ("metric_name", "timestamp", "metric_value")
OTHER_METRICS = "points of other metrics are left out"
_OUTCOME_TAGS = ("expected_response", "status", "error", "error_code")
_CHECKS, _USERS = "checks", "vus"


class _Data(msgspec.Struct):
    time: str | None = None
    value: float | None = None
    tags: dict[str, Any] | None = None
    type: str = ""
    contains: str = ""


class _Line(msgspec.Struct):
    type: str
    metric: str = ""
    data: _Data = msgspec.field(default_factory=_Data)


_DECODER = msgspec.json.Decoder(_Line)


def json_recognised(head: str) -> bool:
    """Return whether a text begins as k6's JSON lines."""
    line = head.partition("\n")[0]
    return line.startswith("{") and '"metric":' in line.replace(" ", "") and '"type":' in line.replace(" ", "")


def csv_recognised(head: str) -> bool:
    """Return whether a text begins as k6's CSV."""
    return head.lstrip("\ufeff").startswith(",".join(CSV_COLUMNS))


def read_json(file: BinaryIO, account: FileAccount) -> Iterator[LoadSample]:
    """Yield the samples of JSON lines."""
    counts = _Counts()
    times = set[str]()
    declared = Counter[str]()
    for one in json_lines(file, _DECODER, _LONGEST_LINE, account):
        if one.type == "Metric":
            # Each run declares a metric once, before its first point.
            declared[one.metric] += 1
            account.parts = max(account.parts, declared[one.metric])
            if one.data.type == "trend" and one.data.contains == "time":
                times.add(one.metric)
            continue
        tags = one.data.tags or {}
        end = None if one.data.time is None else _iso(one.data.time)
        sample = _sample(one.metric, end, one.data.value, tags, account, is_time=one.metric in times)
        counts.add(one.metric, one.data.value, tags)
        if one.metric == _USERS and end is not None:
            account.users.add(end, one.data.value)
        if sample is not None:
            yield sample
    counts.report(account)


def read_csv(file: BinaryIO, account: FileAccount) -> Iterator[LoadSample]:
    """Yield the samples of CSV. Custom trends are left out: the file does not show which of them are times."""
    counts = _Counts()
    account.parts = 1
    with csv_text(file) as text:
        rows = csv.DictReader(text)
        for row in rows:
            line = f"line {rows.line_num}"
            metric, value = row.get("metric_name") or "", _float(row.get("metric_value"))
            if metric == CSV_COLUMNS[0] and row.get("timestamp") == CSV_COLUMNS[1]:
                account.parts += 1  # a further header
                continue
            if row.get("metric_value") is None:
                account.remarks.add(CUT_OFF, f"{line}: {_joined(row)}")
                continue
            if None in row:
                # A delimiter within a cell that is not quoted, as in 12,5: each cell after it is in another column.
                account.remarks.add(NOT_READ, f"{line}: {_joined(row)}")
                continue
            if value is None and metric in _REQUESTS | _NAMED:
                account.remarks.add(NO_NUMBER, f"{line}: {row['metric_value']!r} of {metric}")
                continue
            tags = {name: cell for name, cell in row.items() if isinstance(cell, str) and cell}
            end = _stamp(row.get("timestamp") or "")
            sample = _sample(metric, end, value, tags, account)
            counts.add(metric, value, tags)
            if metric == _USERS and end is not None:
                account.users.add(end, value)
            if sample is not None:
                yield sample
    counts.report(account)


def _joined(row: Mapping[Any, Any]) -> str:
    """Return the cells of a row, and the cells after its last column."""
    cells = [cell for name, cell in row.items() if name is not None and cell is not None]
    return ",".join([*cells, *(row.get(None) or ())])


def _sample(
    metric: str,
    end: float | None,
    value: float | None,
    tags: Mapping[str, Any],
    account: FileAccount,
    *,
    is_time: bool = False,
) -> LoadSample | None:
    """Return the sample of a point, or None if the point is no duration."""
    if metric in _REQUESTS:
        name = str(tags.get("name") or tags.get("url") or tags.get("method") or metric)
        method = str(tags.get("method") or "")
        timer = _REQUESTS[metric] + (
            f"{method} {name}" if method and method != name and not _REQUESTS[metric] else name
        )
    elif metric in _NAMED:
        timer = _NAMED[metric]
    elif metric == "group_duration":
        timer = str(tags.get("group") or "").lstrip(":") or "group"
    elif is_time and not metric.startswith(("http_req_", "browser_")):
        timer = metric
    else:
        if metric != _USERS:
            account.left_out.add(OTHER_METRICS, metric)
        return None
    if end is None or value is None or not is_valid_time(end) or not 0 <= value < float("inf"):
        account.remarks.add(NO_VALID_TIME, timer)
        return None
    sample = LoadSample(end, value / _MILLISECONDS, timer, counted=metric in _REQUESTS)
    if metric in _REQUESTS and _failed(tags, is_http=metric == "http_req_duration"):
        status = str(tags.get("status") or "")
        known = status if status not in ("", "0") else str(tags.get("error_code") or "")
        sample.failed, sample.code = True, known
        sample.error = str(tags.get("error") or "") or (f"status {status}" if known else "failed")
    return sample


def _failed(tags: Mapping[str, Any], *, is_http: bool) -> bool:
    """Return whether a request failed: by its tag, or in files of old versions by its error and status.

    A request without any of them counts as a success: k6's option `systemTags` leaves tags out.
    """
    expected = tags.get("expected_response")
    if expected is not None:
        return str(expected).lower() != "true"
    if tags.get("error") or tags.get("error_code"):
        return True
    if tags.get("status") is None:
        return False
    status = str(tags["status"] or "0")
    if not is_http:
        return status != "0"
    return status.isdigit() and not 0 < int(status) < 400


class _Counts:
    """The counts that show whether the load was the requested one."""

    def __init__(self) -> None:
        self.dropped = 0.0
        self.checks = 0
        self.failed_checks: dict[str, int] = {}
        self.unknown = 0
        self.failed_requests = 0

    def add(self, metric: str, value: float | None, tags: Mapping[str, Any]) -> None:
        if metric == "dropped_iterations":
            self.dropped += value or 0.0
        elif metric in _REQUESTS:
            self.unknown += not any(tags.get(name) is not None for name in _OUTCOME_TAGS)
        elif metric == "http_req_failed":
            self.failed_requests += bool(value)
        elif metric == _CHECKS:
            self.checks += 1
            if not value:
                name = str(tags.get("check") or "")
                self.failed_checks[name] = self.failed_checks.get(name, 0) + 1

    def report(self, account: FileAccount) -> None:
        if self.dropped:
            account.note(f"k6 dropped {counted(round(self.dropped), 'iteration')}, for which it had no free user.")
        if self.unknown:
            failed = f"; k6 counted {self.failed_requests:,} that failed" if self.failed_requests else ""
            account.note(
                f"{counted(self.unknown, 'request')} without the tags status and expected_response "
                f"{'counts' if self.unknown == 1 else 'count'} as successes{failed}: write them with k6's systemTags."
            )
        if self.failed_checks:
            count = sum(self.failed_checks.values())
            account.note(
                f"{count:,} of {self.checks:,} checks failed, the first is {next(iter(self.failed_checks))!r}."
            )


def _iso(text: str) -> float | None:
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError, OSError):
        return None


def _stamp(text: str) -> float | None:
    """Return a time stamp of CSV in seconds since 1970; K6_CSV_TIME_FORMAT chooses its unit, or a date."""
    value = _float(text)
    if value is None:
        return _iso(text)
    return next((value / unit for least, unit in _TIME_UNITS if value >= least), None)


def _float(text: str | None) -> float | None:
    try:
        return None if text is None else float(text)
    except ValueError:
        return None
