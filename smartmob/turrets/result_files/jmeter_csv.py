"""Reads results of JMeter as CSV (JTL files), with or without a header, with any delimiter. No I/O but the given file.

The columns are those of `jmeter.save.saveservice.*` (JMeter's manual, "Listeners", section "CSV Log format").
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import BinaryIO, Protocol

from smartmob.errors import InvalidInput
from smartmob.turrets.result_files.load_sample import (
    AGGREGATED,
    CUT_OFF,
    NO_DURATION,
    NO_NUMBER,
    NOT_READ,
    FileAccount,
    LoadSample,
    csv_text,
    is_valid_time,
    no_valid_time,
)

DELIMITERS = ",\t;|"
REQUIRED = ("timeStamp", "elapsed", "label")
_DEFAULT = ("timeStamp", "elapsed", "label", "responseCode", "responseMessage", "threadName", "dataType", "success")
"""The first columns of a file without a header: the order in which JMeter writes them by default."""

_USERS = "allThreads"
_COUNT = "SampleCount"
_AT_END = (_USERS, _COUNT)
"""Columns after the texts of a server: a line break in a text can cut them off."""
_OLD_COLUMNS = 10
"""Columns of a file of JMeter 2 without a header, which has no failureMessage."""
_TRANSACTION = re.compile(r"Number of samples in transaction : \d+")
_CLASS = re.compile(r"(?:[a-z_]\w*\.)+([A-Z][\w$]*)")
_FIRST_FAILED = 400  # status
_MILLISECONDS = 1000.0  # in a second
FRACTIONS = "Durations have fractions, which JMeter does not write: if they are in seconds, they are a thousandth here."
NOT_UTF8 = "Labels have bytes that are not UTF-8, shown as \ufffd: names that differ in them only are one timer."
CONTROLLERS = "transaction controllers are timers and no transactions"


class Rows(Protocol):
    """A reader of CSV."""

    @property
    def line_num(self) -> int:
        """Return the number of the line that was read last."""

    def __iter__(self) -> Iterator[list[str]]:
        """Return the rows."""


def recognised(head: str) -> bool:
    """Return whether a text begins as a JTL file."""
    return _layout(head.partition("\n")[0].rstrip("\r")) is not None


def read(file: BinaryIO, account: FileAccount) -> Iterator[LoadSample]:
    """Yield the samples; raises InvalidInput if the columns needed are missing."""
    with csv_text(file) as text:
        first = text.readline()
        layout = _layout(first.rstrip("\r\n"))
        if layout is None:
            raise InvalidInput(f"is not a CSV of JMeter: the first line must have the columns {', '.join(REQUIRED)}")
        delimiter, columns, has_header = layout
        text.seek(0)
        rows = csv.reader(text, delimiter=delimiter)
        if has_header:
            next(rows)
        account.parts += 1
        yield from _samples(rows, columns, account, has_header=has_header)


def controller(message: str) -> bool:
    """Return whether a response message is the one that JMeter gives to transaction controllers."""
    return _TRANSACTION.match(message) is not None


def is_aggregated(count: str) -> bool:
    """Return whether a sample is the sum of several requests, by its count, as in the mode Statistical."""
    return count.isdigit() and int(count) > 1


def failure(code: str, message: str, assertion: str) -> tuple[str, str, str]:
    """Return the text, the kind and the code of the error of a failed sample.

    `assertion` is the message of the assertion that failed, if one did.
    """
    is_status = code.isdigit()
    text = assertion or message or code or "failed"
    found = _CLASS.search(code)
    kind = (
        found[1] if found is not None else "assertion" if assertion and is_status and int(code) < _FIRST_FAILED else ""
    )
    return text, kind, code if is_status else ""


def _layout(line: str) -> tuple[str, tuple[str, ...], bool] | None:
    """Return the delimiter, the columns, and whether the line is a header; None if it is no line of a JTL file."""
    for delimiter in DELIMITERS:
        try:
            cells = next(csv.reader([line], delimiter=delimiter), [])
        except csv.Error:
            continue
        names = tuple(cell.strip() for cell in cells)
        if all(name in names for name in REQUIRED):
            return delimiter, names, True
        if len(cells) >= len(_DEFAULT) and _moment(cells[0]) is not None and cells[7].lower() in ("true", "false"):
            further = ("bytes",) if len(cells) <= _OLD_COLUMNS else ("failureMessage",)
            return delimiter, (*_DEFAULT, *further), False
    return None


def _samples(rows: Rows, columns: Sequence[str], account: FileAccount, *, has_header: bool) -> Iterator[LoadSample]:
    indices, width = _column_indices(columns, account), len(columns)
    for row in rows:
        if not row:
            continue
        if row[0].strip() == columns[0] and "label" in row:
            # Files were appended to each other, or a second run wrote into the same file.
            indices, width = _column_indices([cell.strip() for cell in row], account), len(row)
            has_header = True
            account.parts += 1
            continue
        if has_header and any(row[width:]):
            # A delimiter within a cell that is not quoted, as in 12,5: each cell after it is in another column.
            account.remarks.add(NOT_READ, f"line {rows.line_num}: {','.join(row)}")
            continue
        try:
            # A row can be cut off after the last needed cell, by a line break in a message.
            cells = {name: row[index] for name, index in indices.items() if name not in _AT_END or index < len(row)}
        except IndexError:
            account.remarks.add(CUT_OFF, f"line {rows.line_num}: {','.join(row)}")
            continue
        sample = _sample(cells, account, rows.line_num)
        if sample is not None:
            yield sample


def _column_indices(columns: Sequence[str], account: FileAccount) -> dict[str, int]:
    wanted = (*REQUIRED, "responseCode", "responseMessage", "success", "failureMessage", _USERS, _COUNT)
    indices = {name: columns.index(name) for name in wanted if name in columns}
    if "success" not in indices and "responseCode" not in indices:
        raise InvalidInput(
            "has neither a column success nor responseCode, so failures cannot be distinguished from successes"
        )
    if "success" not in indices:
        account.note("The file has no column success: codes from 400 on, and non-numeric codes, count as failed.")
    return indices


def _sample(cells: dict[str, str], account: FileAccount, line: int) -> LoadSample | None:
    start = _moment(cells["timeStamp"])
    seconds = _seconds(cells["elapsed"])
    if start is None or not is_valid_time(start + (seconds or 0.0)):
        account.remarks.add(no_valid_time(start), f"{cells['timeStamp']} {cells['label']} (line {line})")
        return None
    if seconds is not None and "." in cells["elapsed"]:
        account.note(FRACTIONS)
    if "\ufffd" in cells["label"]:
        account.note(NOT_UTF8)
    if is_aggregated(cells.get(_COUNT, "")):
        account.remarks.add(AGGREGATED, f"line {line}: {cells['label']}")
        return None
    if (users := cells.get(_USERS, "")).isdigit():
        account.users.add(start, float(users))
    code, message = cells.get("responseCode", ""), cells.get("responseMessage", "")
    by_code = "false" if not code.isdigit() or int(code) >= _FIRST_FAILED else "true"
    failed = cells.get("success", by_code).strip().lower() != "true"
    if seconds is None and not failed:
        kind, given = (NO_NUMBER, cells["elapsed"]) if cells["elapsed"].strip() else (NO_DURATION, "")
        account.remarks.add(kind, f"line {line}: {given} {cells['label']}")
        return None
    found = LoadSample(start + (seconds or 0.0), seconds, cells["label"], failed, counted=not controller(message))
    if not found.counted:
        account.left_out.add(CONTROLLERS, found.timer)
    if failed:
        found.error, found.kind, found.code = failure(code, message, cells.get("failureMessage", ""))
    return found


def _seconds(text: str) -> float | None:
    """Return a duration that is written in milliseconds, or None if there is none."""
    try:
        value = float(text)
    except ValueError:
        return None
    return value / _MILLISECONDS if 0 <= value < float("inf") else None


def _moment(text: str) -> float | None:
    """Return a time stamp in seconds since 1970: milliseconds, or a date in local time."""
    text = text.strip()
    if text.replace(".", "", 1).isdigit():
        return float(text) / _MILLISECONDS
    try:
        return datetime.fromisoformat(text.replace("/", "-").replace(",", ".")).timestamp()
    except (ValueError, OverflowError, OSError):
        return None
