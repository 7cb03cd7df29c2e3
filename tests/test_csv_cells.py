"""Cells of CSV files that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io

import pytest

from smartmob import csv_cells


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1", "'=1", "''@x", "-", "-1.5.2"]
)
def test_a_formula_becomes_a_text_and_comes_back(text: str) -> None:
    """What begins like a formula gets a quote before it, and reading takes exactly that one away again."""
    assert csv_cells.guarded(text) == f"'{text}"
    assert csv_cells.unguarded(f"'{text}") == text


@pytest.mark.parametrize("cell", ["", "x", "test_a[=1]", "it's", "'quoted'", "-1.5", "+2", "-1e-9", -1.5, 3, None])
def test_texts_and_numbers_stay_as_they_are(cell: object) -> None:
    """A text that is no formula, and a number with its sign, are not changed, in either direction."""
    assert csv_cells.guarded(cell) == cell
    assert not isinstance(cell, str) or csv_cells.unguarded(cell) == cell


def test_lines_are_csv() -> None:
    """Separators, quotes and line ends within a cell stay within it."""
    rows = list(csv.reader(io.StringIO(csv_cells.encoded([["=a,b", 'c"d', "e\r\nf", -0.5]]).decode(), newline="")))
    assert rows == [["'=a,b", 'c"d', "e\r\nf", "-0.5"]]
