"""JSON of benchmark tools: encodings, words that are no JSON, and values of unexpected types."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest

from smartmob.errors import InvalidInput
from smartmob.metrics.report_files import json_document


class _Document(msgspec.Struct):
    value: Any


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
def test_a_document_is_read_in_each_encoding_that_shells_write(tmp_path: Path, encoding: str) -> None:
    """PowerShell writes UTF-16 with a byte order mark."""
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    (tmp_path / "x").write_bytes((mark + '{"value": "ü"}').encode(encoding))
    assert json_document.read(tmp_path / "x", _Document).value == "ü"


def test_words_that_are_no_json_become_texts(tmp_path: Path) -> None:
    """NaN and Infinity are read as no number; the same words within a text stay."""
    (tmp_path / "x").write_text('{"value": [NaN, -Infinity, nan, 1, "NaN, \\"-inf"]}')
    assert json_document.read(tmp_path / "x", _Document).value == ["NaN", "NaN", "NaN", 1, 'NaN, "-inf']


def test_a_lone_surrogate_becomes_a_replacement_character(tmp_path: Path) -> None:
    """Pairs and escaped backslashes stay."""
    (tmp_path / "x").write_text(r'{"value": ["a\ud800b", "\ud83d\ude00", "\\ud800", "\udc80"]}')
    expected = ["a\ufffdb", "\U0001f600", r"\ud800", "\ufffd"]
    assert json_document.read(tmp_path / "x", _Document).value == expected


@pytest.mark.parametrize("text", ["", "{", "[]", '{"value": NaN', '{"other": 1}', "\x00", '{"value": ' + "[" * 100_000])
def test_what_is_no_document_is_refused(tmp_path: Path, text: str) -> None:
    """The reason is one line."""
    (tmp_path / "x").write_text(text)
    with pytest.raises(InvalidInput, match=r"^it is not valid JSON of this format: .*$"):
        json_document.read(tmp_path / "x", _Document)


def test_text_before_a_document_is_named(tmp_path: Path) -> None:
    """`command > file` also catches what a tool prints beside its report; blanks before it are none."""
    (tmp_path / "x").write_text('Running ./bench\n  WARNING\n{"value": 1}')
    with pytest.raises(InvalidInput, match="begins in line 3"):
        json_document.read(tmp_path / "x", _Document)
    (tmp_path / "x").write_text(' \n {\n"value":\n[\n1]}')
    assert json_document.read(tmp_path / "x", _Document).value == [1]


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    """The limit is checked while it is read."""
    (tmp_path / "x").write_bytes(b" " * 11)
    with pytest.raises(InvalidInput, match="split it"):
        json_document.read_bytes(tmp_path / "x", limit=10)


@pytest.mark.parametrize(
    ("value", "expected"),
    [(1, 1.0), ("0.5", 0.5), (True, None), (None, None), ("x", None), ([], None), (10**400, None), ("inf", None)],
)
def test_numbers_are_finite_or_unknown(value: Any, expected: float | None) -> None:
    """Texts count as numbers if they are written like one."""
    assert json_document.number(value) == expected


def test_a_negative_duration_is_unknown() -> None:
    """A duration has its unit applied."""
    assert (json_document.seconds(-1), json_document.seconds(5, 1e-3)) == (None, 0.005)


def test_times_are_read_with_or_without_a_zone() -> None:
    """Milliseconds since 1970 are UTC."""
    assert json_document.moment("2026-11-20T10:00:00") == datetime(2026, 11, 20, 10)
    assert json_document.moment("2026-11-20T10:00:00Z") == datetime(2026, 11, 20, 10, tzinfo=UTC)
    assert (json_document.moment("soon"), json_document.moment(None)) == (None, None)
    assert json_document.moment_of_ms(1_000) == datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    assert (json_document.moment_of_ms(1e18), json_document.moment_of_ms("x")) == (None, None)


def test_texts_and_whole_numbers_are_read_or_unknown() -> None:
    """Blank texts and negative numbers are unknown."""
    assert [json_document.text(value) for value in (" a ", "", 3, None, True)] == ["a", None, "3", None, None]
    assert [json_document.whole(value) for value in (8, "8", -1, 2**63, 1.5)] == [8, 8, None, None, 1]


def test_a_row_of_other_types_is_none() -> None:
    """The other rows of the list are read."""
    assert json_document.row(msgspec.Raw(b'{"x": 1}'), _Document) is None
    assert json_document.row(msgspec.Raw(b'{"value": 1}'), _Document) == _Document(1)
