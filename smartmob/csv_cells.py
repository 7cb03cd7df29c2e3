"""CSV cells that spreadsheets do not run as formulas: a cell that begins like a formula gets a leading `'`."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable

# The characters that begin a formula, their full-width forms, and the blanks that spreadsheets skip before them.
_FORMULA = re.compile("'*[ \u00a0]*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
_NUMBER = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]+)?\Z", re.ASCII)


def guarded(cell: object) -> object:
    """Return the cell; a text that begins like a formula gets a leading `'`, a number stays as it is."""
    if not isinstance(cell, str) or not _FORMULA.match(cell) or _NUMBER.match(cell):
        return cell
    return f"'{cell}"


def unguarded(cell: str) -> str:
    """Return the text from which `guarded` made a cell."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell


def encoded(rows: Iterable[Iterable[object]]) -> bytes:
    """Return rows as CSV with guarded cells, encoded as UTF-8."""
    text = io.StringIO()
    csv.writer(text).writerows([guarded(cell) for cell in row] for row in rows)
    return text.getvalue().encode()
