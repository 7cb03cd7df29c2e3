"""Tables of text for a terminal or a pipe.

Names are never split within a word. In a pipe a table is as wide as its rows. On a terminal that is too narrow, cells
wrap between words. In a table that is too wide even so, the last columns of a row stand below it with their names, or
each cell has a line with the name of its column, if not even two columns fit beside each other.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import msgspec

_GAP = "  "
_INDENT = "    "
_LEAST_COLUMNS = 2  # that stand beside each other; fewer are no table
_EMPTY = ("", "-")
_MOMENT = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d")
_CODES = {"bold": "1", "dim": "2", "red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36"}
"""Codes of "select graphic rendition" (ECMA-48, section 8.3.117)."""


class StyledText(msgspec.Struct, frozen=True):
    """Text without characters that control a terminal, and a style such as "bold red"."""

    plain: str
    style: str = ""

    def __str__(self) -> str:
        return self.plain

    def __rich__(self) -> Any:
        """Return this text for a live display of rich."""
        from rich.text import Text

        return Text(self.plain, self.style)

    def ansi(self) -> str:
        """Return this text with the codes with which a terminal shows it."""
        codes = ";".join(_CODES[word] for word in self.style.split() if word in _CODES)
        return f"\x1b[{codes}m{self.plain}\x1b[0m" if codes and self.plain else self.plain


class StyledLine(tuple[StyledText, ...]):
    """A line that consists of several texts."""

    __slots__ = ()

    @property
    def plain(self) -> str:
        """Return the line without styles."""
        return "".join(part.plain for part in self)

    def ansi(self) -> str:
        """Return the line with the codes with which a terminal shows it."""
        return "".join(part.ansi() for part in self)


def columns_of(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for wide characters, none for combining ones."""
    if text.isascii():
        return len(text)
    return sum(_columns(character) for character in text)


def _columns(character: str) -> int:
    if unicodedata.combining(character) or unicodedata.category(character) in ("Me", "Mn", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def lines_of(
    heads: Sequence[str], rows: Iterable[Sequence[StyledText]], width: int | None, *, colours: bool
) -> Iterator[str]:
    """Yield the lines of a table of at most `width` columns where words allow that; None for any width.

    A head that begins with `>` aligns its column to the right.
    """
    found = [tuple(row) for row in rows]
    right = [head.startswith(">") for head in heads]
    names = [StyledText(head.lstrip(">"), "bold") for head in heads]
    table = [tuple(names), *found] if any(name.plain for name in names) else found
    widths = _widths(table, right, width)
    if widths is not None or width is None:
        for row in table:
            yield from _row(row, widths or (), right, colours=colours)
        return
    kept = _fitting(table, width)
    if kept < _LEAST_COLUMNS:
        yield from _records(names, found, colours=colours)
        return
    widths = [max(columns_of(row[column].plain) for row in table) for column in range(kept)]
    yield from _row(names[:kept], widths, right, colours=colours)
    for row in found:
        yield from _row(row[:kept], widths, right, colours=colours)
        below = zip(names[kept:], row[kept:], strict=True)
        yield from _below([(name, cell) for name, cell in below if cell.plain not in _EMPTY], width, colours=colours)


def _widths(table: Sequence[Sequence[StyledText]], right: Sequence[bool], width: int | None) -> list[int] | None:
    """Return the width of each column, or None if the words of a row are wider than `width`."""
    if not table:
        return []
    count = len(table[0])
    natural = [max(columns_of(row[column].plain) for row in table) for column in range(count)]
    available = None if width is None else width - len(_GAP) * (count - 1)
    if available is None or sum(natural) <= available:
        return natural
    least = [
        max(max(map(columns_of, _words(row[column], right[column])), default=0) for row in table)
        for column in range(count)
    ]
    if sum(least) > available:
        return None
    # The widest columns are narrowed first.
    widths = list(least)
    while (spare := available - sum(widths)) > 0:
        open_columns = [column for column in range(count) if widths[column] < natural[column]]
        share = max(1, spare // len(open_columns))
        for column in open_columns[:spare]:
            widths[column] = min(natural[column], widths[column] + share)
    return widths


def _fitting(table: Sequence[Sequence[StyledText]], width: int) -> int:
    """Return how many columns from the first on fit unwrapped into `width`."""
    available, kept = width + len(_GAP), 0
    for column in range(len(table[0])):
        available -= max(columns_of(row[column].plain) for row in table) + len(_GAP)
        if available < 0:
            break
        kept += 1
    return kept


def _below(cells: Sequence[tuple[StyledText, StyledText]], width: int, *, colours: bool) -> Iterator[str]:
    """Yield lines of cells with the names of their columns, as many in a line as fit."""
    line, taken = _INDENT, 0
    for name, cell in cells:
        size = sum(columns_of(text.plain) + 1 for text in (name, cell) if text.plain) - 1
        if taken and len(_INDENT) + taken + len(_GAP) + size > width:
            yield line
            line, taken = _INDENT, 0
        if not taken and len(_INDENT) + size > width:
            yield from _long_cell(name, cell, width, colours=colours)
            continue
        shown = " ".join((text.ansi() if colours else text.plain) for text in (name, cell) if text.plain)
        line += f"{_GAP if taken else ''}{shown}"
        taken += (len(_GAP) if taken else 0) + size
    if taken:
        yield line


def _long_cell(name: StyledText, cell: StyledText, width: int, *, colours: bool) -> Iterator[str]:
    head = f"{name.plain} " if name.plain else ""
    for number, text in enumerate(_wrapped(cell, max(1, width - len(_INDENT) - len(head)), False)):
        shown = StyledText(text, cell.style).ansi() if colours else text
        own = head if number else f"{name.ansi() if colours else name.plain} " if head else ""
        yield f"{_INDENT}{own if not number else ' ' * len(head)}{shown}"


def wrapped(text: str, width: int) -> list[str]:
    """Return the lines of at most `width` columns of a text; a command between backticks stays in one where it can."""
    lines: list[str] = []
    for given in text.split("\n"):
        indent = given[: len(given) - len(given.lstrip(" "))]
        line = ""
        for word in _unbroken(given.strip(" "), width):
            longer = f"{line} {word}" if line else f"{indent}{word}"
            if line and columns_of(longer) > width:
                lines.append(line)
                longer = f"{indent}{word}"
            line = longer
        lines.append(line)
    return lines


def _unbroken(text: str, width: int) -> list[str]:
    """Return the parts of a text between which it may wrap."""
    parts: list[str] = []
    for number, part in enumerate(text.split("`")):
        command = number % 2 == 1
        whole = f"`{part}`" if command else part
        words = [whole] if command and columns_of(whole) <= width else whole.split(" ")
        if parts:
            words[0] = parts.pop() + words[0]
        parts += words
    return parts


def _words(cell: StyledText, right: bool) -> list[str]:
    """Return the parts between which a cell may wrap; a number and its unit stay together, and a date and its time."""
    whole = (right and any(character.isdigit() for character in cell.plain)) or _MOMENT.fullmatch(
        cell.plain
    ) is not None
    return [cell.plain] if whole else cell.plain.split(" ")


def _wrapped(cell: StyledText, width: int, right: bool) -> list[str]:
    if columns_of(cell.plain) <= width:
        return [cell.plain]
    lines: list[str] = []
    for word in _words(cell, right):
        if lines and columns_of(lines[-1]) + 1 + columns_of(word) <= width:
            lines[-1] += f" {word}"
        else:
            lines.append(word)
    return lines


def _row(row: Sequence[StyledText], widths: Sequence[int], right: Sequence[bool], *, colours: bool) -> Iterator[str]:
    wrapped = [_wrapped(cell, widths[column], right[column]) for column, cell in enumerate(row)]
    for number in range(max(map(len, wrapped), default=0)):
        parts = []
        for column, cell in enumerate(row):
            text = wrapped[column][number] if number < len(wrapped[column]) else ""
            pad = " " * (widths[column] - columns_of(text))
            shown = StyledText(text, cell.style).ansi() if colours else text
            parts.append(f"{pad}{shown}" if right[column] else f"{shown}{pad}")
        yield _GAP.join(parts).rstrip()


def _records(names: Sequence[StyledText], rows: Iterable[Sequence[StyledText]], *, colours: bool) -> Iterator[str]:
    width = max(columns_of(name.plain) for name in names)
    for number, row in enumerate(rows):
        if number:
            yield ""
        for name, cell in zip(names, row, strict=True):
            head, pad = (name.ansi() if colours else name.plain), " " * (width - columns_of(name.plain))
            yield f"{head}{pad}{_GAP}{cell.ansi() if colours else cell.plain}".rstrip()
