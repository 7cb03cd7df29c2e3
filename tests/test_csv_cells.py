"""CSV cells that spreadsheets do not run as formulas."""

from __future__ import annotations

import csv
import io

import pytest

from smartmob import csv_cells


@pytest.mark.parametrize(
    "text", ["=1+1", "+1+1", "-1+1", "@SUM(A1)", "\t=1", "\r=1", "\n=1", " =1", "\uff1d1", "'=1", "''@x", "-", "-1.5.2"]
)
def test_a_formula_becomes_a_text_and_comes_back(text: str) -> None:
    """A text that begins like a formula gets a leading quote, and reading removes exactly that quote."""
    assert csv_cells.guarded(text) == f"'{text}"
    assert csv_cells.unguarded(f"'{text}") == text


@pytest.mark.parametrize("cell", ["", "x", "test_a[=1]", "it's", "'quoted'", "-1.5", "+2", "-1e-9", -1.5, 3, None])
def test_other_texts_and_numbers_are_unchanged(cell: object) -> None:
    """Other texts, and numbers with a sign, are unchanged in both directions."""
    assert csv_cells.guarded(cell) == cell
    assert not isinstance(cell, str) or csv_cells.unguarded(cell) == cell


def test_separators_stay_within_their_cell() -> None:
    """Separators, quotes and line ends within a cell stay within it."""
    rows = list(csv.reader(io.StringIO(csv_cells.encoded([["=a,b", 'c"d', "e\r\nf", -0.5]]).decode(), newline="")))
    assert rows == [["'=a,b", 'c"d', "e\r\nf", "-0.5"]]
