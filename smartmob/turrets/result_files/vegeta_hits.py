"""Reads results of Vegeta as JSON lines and as CSV, which `vegeta encode` writes. No I/O but the given file.

Vegeta's README describes both in section "encode". A hit has the time at which its request began.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator
from datetime import datetime
from typing import BinaryIO

import msgspec

from smartmob.turrets.result_files.load_sample import (
    CUT_OFF,
    NO_DURATION,
    NO_VALID_TIME,
    NOT_READ,
    FileAccount,
    LoadSample,
    csv_text,
    is_valid_time,
    json_lines,
)

_NANOSECONDS = 1e9  # in a second
_LONGEST_LINE = 256 * 1024 * 1024  # bytes; a line has the body of the answer as base64
_COLUMNS = (9, 10, 11, 12)  # of the versions
_FIRST_FAILED = 400  # status


class _Hit(msgspec.Struct):
    timestamp: str
    latency: int
    code: int = 0
    seq: int | None = None
    attack: str = ""
    error: str = ""
    method: str = ""
    url: str = ""


_DECODER = msgspec.json.Decoder(_Hit)


def json_recognised(head: str) -> bool:
    """Return whether a text begins as Vegeta's JSON lines."""
    line = head.partition("\n")[0]
    return line.startswith("{") and all(f'"{name}":' in line for name in ("attack", "latency", "timestamp"))


def csv_recognised(head: str) -> bool:
    """Return whether a text begins as Vegeta's CSV, which has no header."""
    cells = next(csv.reader([head.partition("\n")[0].rstrip("\r")]), [])
    whole = len(cells) in _COLUMNS or (len(cells) > 5 and "\n" not in head)  # a long body hides the end of the line
    return whole and all(cell.isdigit() for cell in cells[:5]) and len(cells[0]) == 19


def read_json(file: BinaryIO, account: FileAccount) -> Iterator[LoadSample]:
    """Yield the samples of JSON lines."""
    for hit in json_lines(file, _DECODER, _LONGEST_LINE, account):
        try:
            start: float | None = datetime.fromisoformat(hit.timestamp).timestamp()
        except (ValueError, OverflowError, OSError):
            start = None
        sample = _sample(start, hit, account)
        if sample is not None:
            yield sample


def read_csv(file: BinaryIO, account: FileAccount) -> Iterator[LoadSample]:
    """Yield the samples of CSV."""
    with csv_text(file, _LONGEST_LINE) as text:
        rows = csv.reader(text)
        for row in rows:
            if not row:
                continue
            try:
                hit = _Hit("", int(row[2]), int(row[1]), error=row[5], attack=row[7])
                start = int(row[0]) / _NANOSECONDS
                hit.seq = int(row[8]) if len(row) > 8 else None
            except (IndexError, ValueError):
                kind = CUT_OFF if len(row) < min(_COLUMNS) else NOT_READ
                account.remarks.add(kind, f"line {rows.line_num}: {','.join(row)}")
                continue
            if len(row) > 10:
                hit.method, hit.url = row[9], row[10]
            sample = _sample(start, hit, account)
            if sample is not None:
                yield sample


def _sample(start: float | None, hit: _Hit, account: FileAccount) -> LoadSample | None:
    timer = f"{hit.method} {hit.url}".strip() or hit.attack or "hits"
    account.parts += hit.seq == 0  # the number of a hit within its attack
    seconds = hit.latency / _NANOSECONDS if hit.latency >= 0 else None
    if start is None or not is_valid_time(start + (seconds or 0.0)):
        account.remarks.add(NO_VALID_TIME, timer)
        return None
    # Vegeta counts the codes 200 to 399 as success.
    failed = not 200 <= hit.code < _FIRST_FAILED
    if seconds is None and not failed:
        account.remarks.add(NO_DURATION, timer)
        return None
    sample = LoadSample(start + (seconds or 0.0), seconds, timer, failed)
    if failed:
        sample.error = hit.error or (f"status {hit.code}" if hit.code else "failed")
        sample.code = str(hit.code) if hit.code else ""
    return sample
