"""Output of commands: tables and JSON on standard output, progress on standard error if it is a terminal."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import Any

import orjson
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)
from rich.table import Table
from rich.text import Text

from smartmob import duration_text

NOTHING = duration_text.NOTHING
seconds = duration_text.seconds
_WIDTH_WITHOUT_TERMINAL = 160  # columns


def print_json(document: Any) -> None:
    """Print a document as JSON."""
    sys.stdout.write(escaped(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()) + "\n")


def escaped(text: str) -> str:
    """Return JSON of the same value, with characters that control a terminal as escape sequences."""
    if text.isascii() and "\x7f" not in text:
        return text  # orjson escapes the other controls of ASCII
    return "".join(mark if mark.isprintable() or mark == "\n" else _as_escape(mark) for mark in text)


def _as_escape(mark: str) -> str:
    units = mark.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; columns whose name begins with `>` are aligned to the right.

    A cell that is a Text keeps its style; `plain` makes one that is safe.
    """
    # A Text, because a str would be parsed as markup.
    heading = Text(printable(title), "bold") if title else None
    table = Table(
        title=heading, title_justify="left", title_style="bold", header_style="bold", box=None, pad_edge=False
    )
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.lstrip(">"), justify="right" if right else "left", overflow="fold", no_wrap=right)
    for row in rows:
        table.add_row(*(cell if isinstance(cell, Text) else plain(cell) for cell in row))
    console().print(table)


def say(text: str) -> None:
    """Print a message to standard error."""
    Console(stderr=True, highlight=False, markup=False).print(printable(text), soft_wrap=True)


def print_lines(lines: Iterable[Text]) -> None:
    """Print lines without cutting or wrapping them."""
    out = console()
    for line in lines:
        out.print(line, soft_wrap=True)


def progress() -> Progress:
    """Return a progress bar on standard error, which shows nothing unless that is a terminal."""
    return _progress(MofNCompleteColumn(), TimeRemainingColumn())


def transfer() -> Progress:
    """Return a progress bar like `progress` that counts bytes, and is gone at the end."""
    return _progress(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(), transient=True)


def _progress(*columns: ProgressColumn, transient: bool = False) -> Progress:
    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        console=console,
        transient=transient,
        disable=not console.is_terminal,
    )


def plain(cell: object, style: str = "") -> Text:
    """Return a cell without characters that control a terminal, since any client may have chosen the text."""
    text = NOTHING if cell is None or cell == "" else str(cell)
    return Text("".join(mark if mark.isprintable() else "\ufffd" for mark in text), style)


def printable(text: str) -> str:
    """Return a text of several lines without other characters that control a terminal."""
    if text.isprintable():
        return text
    return "".join(mark if mark.isprintable() or mark in "\n\t" else "\ufffd" for mark in text)


def machines(run: Mapping[str, Any]) -> str:
    """Return the machines of a test run: those that were found, or else the host names that its sessions sent."""
    return ", ".join(dict.fromkeys(place["name"] for place in run.get("places", ()))) or ", ".join(run["nodes"])


def local_time(text: str) -> str:
    """Return an ISO 8601 time in the time zone of this machine, or in its own where that leaves the years 1 to 9999."""
    moment = datetime.fromisoformat(text)
    with suppress(OverflowError):
        moment = moment.astimezone()
    return moment.replace(tzinfo=None).isoformat(" ", "seconds")


def span(value: float | None) -> str:
    """Return a duration in its two largest units."""
    if value is None:
        return NOTHING
    rest = int(value)
    parts: list[str] = []
    for size, unit in _SPANS:
        number, rest = divmod(rest, size)
        if number or parts:
            parts.append(f"{number} {unit}")
    return " ".join(parts[:2]) or "0 s"


_SPANS = ((86_400, "d"), (3600, "h"), (60, "min"), (1, "s"))


def size(value: float | None) -> str:
    """Return a number of bytes with a decimal unit."""
    if value is None:
        return NOTHING
    for unit in ("B", "kB", "MB"):
        if value < 1000:
            return f"{value:.0f} {unit}" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1000
    return f"{value:.1f} GB"


def console() -> Console:
    """Return standard output for a table; without a terminal it is wide."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL)
