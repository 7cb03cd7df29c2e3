"""Reads the JSON documents of benchmark tools, and the values in them, which often do not have the expected type."""

from __future__ import annotations

import codecs
import math
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from smartmob.errors import InvalidInput

T = TypeVar("T", bound=msgspec.Struct)

MAX_BYTES = 256 * 1024 * 1024
"""The largest document that is read, because it is held in memory; a report of 10,000 benchmarks has some 10 MB."""

NOT_A_NUMBER = "NaN"
"""The text that stands for the NaN which Python's and C++'s writers of JSON produce."""

_DOCUMENT = re.compile(rb"^[{\[]", re.MULTILINE)
_NOT_JSON = re.compile(rb'"(?:[^"\\]|\\.)*"|(?P<word>-?\b(?:NaN|Infinity|nan|inf)\b)', re.DOTALL)
_ESCAPES = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|(?P<lone>u[dD][89a-fA-F][0-9a-fA-F]{2})|.)",
    re.DOTALL,
)
"""The escapes of a text. A single surrogate is not a character, but Python writes one for an undecodable byte of a
name.
"""

_BOMS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)
_MS_PER_SECOND = 1000.0
_LARGEST_MS = 253_402_300_799_000.0  # 9999-12-31T23:59:59


def as_utf8(data: bytes) -> bytes:
    """Return text in UTF-8 without a byte order mark; PowerShell's `>` writes UTF-16."""
    for bom, encoding in _BOMS:
        if data.startswith(bom):
            return data[len(bom) :].decode(encoding, "replace").encode()
    return data


def read_bytes(path: Path, limit: int = MAX_BYTES) -> bytes:
    """Return the text of a file in UTF-8. Raises InvalidInput for more than `limit` bytes."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise InvalidInput(f"it has more than {limit // 1024**2} MiB; split it")
    return as_utf8(data)


def read(path: Path, kind: type[T]) -> T:
    """Return the document of a file; NaN becomes the text NOT_A_NUMBER. Raises InvalidInput."""
    data = read_bytes(path)
    if not data.lstrip().startswith((b"{", b"[")) and (begin := _DOCUMENT.search(data)) is not None:
        line = data.count(b"\n", 0, begin.start()) + 1
        raise InvalidInput(f"other text comes before its JSON, which begins in line {line}: write the report to a file")
    try:
        return msgspec.json.decode(data, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        reason = str(error)
    if not any(word in data for word in (b"NaN", b"Infinity", b"nan", b"inf", b"\\ud", b"\\uD")):
        raise InvalidInput(f"it is not valid JSON of this format: {reason}")
    try:
        return msgspec.json.decode(_NOT_JSON.sub(_as_text, data), type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(f"it is not valid JSON of this format: {error}") from None


def _as_text(found: re.Match[bytes]) -> bytes:
    if found["word"] is not None:
        return b'"NaN"'
    return _ESCAPES.sub(_as_character, found[0]) if b"\\u" in found[0] else found[0]


def _as_character(found: re.Match[bytes]) -> bytes:
    return found[0] if found["lone"] is None else b"\\ufffd"


def row(raw: msgspec.Raw, kind: type[T]) -> T | None:
    """Return one element of a list, or None if its fields have other types."""
    try:
        return msgspec.json.decode(raw, type=kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return None


def number(value: Any) -> float | None:
    """Return a finite number (it may be written as text), or None."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        found = float(value)
    except (ValueError, OverflowError):
        return None
    return found if math.isfinite(found) else None


def seconds(value: Any, factor: float = 1.0) -> float | None:
    """Return a duration in seconds, or None if it is negative or not a number."""
    found = number(value)
    return None if found is None or found < 0 else found * factor


def text(value: Any) -> str | None:
    """Return a text that is not empty, or None; numbers become texts."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return str(value)
    return value.strip() or None if isinstance(value, str) else None


def whole(value: Any) -> int | None:
    """Return a whole number of 0 or more, or None."""
    found = number(value)
    return int(found) if found is not None and 0 <= found < 2**63 else None


def moment(value: Any) -> datetime | None:
    """Return a time in ISO 8601 as it is, with or without a zone, or None."""
    try:
        return datetime.fromisoformat(value.strip()) if isinstance(value, str) else None
    except ValueError:
        return None


def moment_of_ms(value: Any) -> datetime | None:
    """Return a time given in milliseconds since 1970, or None."""
    found = number(value)
    if found is None or not 0 <= found <= _LARGEST_MS:
        return None
    return datetime.fromtimestamp(found / _MS_PER_SECOND, UTC)
