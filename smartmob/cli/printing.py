"""Output of commands: tables and JSON on standard output, progress on standard error if it is a terminal."""

from __future__ import annotations

import math
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from smartmob import duration_text
from smartmob.cli.table_layout import StyledLine, StyledText, columns_of, lines_of, wrapped
from smartmob.environment import environment
from smartmob.kernel.runtime import clock

if TYPE_CHECKING:
    # Imported where they are used: rich takes 0.05 s of a start, and --json and short messages do not need it.
    from rich.console import Console
    from rich.progress import Progress, ProgressColumn

NOTHING = duration_text.NOTHING
seconds = duration_text.seconds
_WIDTH_WITHOUT_TERMINAL = 160  # columns


def print_json(document: Any) -> None:
    """Print a document as JSON."""
    import orjson

    sys.stdout.write(escaped(orjson.dumps(document, option=orjson.OPT_INDENT_2).decode()) + "\n")


def escaped(text: str) -> str:
    """Return JSON of the same value, with characters that control a terminal as escape sequences."""
    if text.isascii() and "\x7f" not in text:
        return text  # orjson escapes the other controls of ASCII
    return "".join(
        character if character.isprintable() or character == "\n" else _as_escape(character) for character in text
    )


def _as_escape(character: str) -> str:
    units = character.encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[at]:02x}{units[at + 1]:02x}" for at in range(0, len(units), 2))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print a table; columns whose name begins with `>` are aligned to the right.

    A cell that is a StyledText keeps its style; `plain` makes one that is safe.
    """
    found = [tuple(cell if isinstance(cell, StyledText) else plain(cell) for cell in row) for row in rows]
    colours = has_colours()
    heading = _fitted(printable(title), sys.stdout).split("\n") if title else []
    lines = [StyledText(line, "bold").ansi() if colours else line for line in heading]
    lines += lines_of(columns, found, terminal_width(), colours=colours)
    sys.stdout.write("".join(f"{line}\n" for line in lines))
    sys.stdout.flush()


def terminal_width() -> int | None:
    """Return the columns of the terminal that standard output is, or None if it is none."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def has_colours() -> bool:
    """Return whether standard output shows colours: a terminal that is not dumb, without NO_COLOR (no-color.org)."""
    variables = environment()
    if variables.get("NO_COLOR"):
        return False
    return bool(variables.get("FORCE_COLOR")) or (
        sys.stdout.isatty() and variables.get("TERM", "") not in ("dumb", "unknown")
    )


def say(text: str) -> None:
    """Print a message to standard error."""
    sys.stderr.write(f"{_fitted(printable(text), sys.stderr)}\n")
    sys.stderr.flush()


def print_sentence(text: str) -> None:
    """Print a sentence to standard output; on a terminal it wraps between words."""
    sys.stdout.write(f"{_fitted(printable(text), sys.stdout)}\n")
    sys.stdout.flush()


def _fitted(text: str, stream: TextIO) -> str:
    """Return a text with its lines wrapped if `stream` is a terminal."""
    if not stream.isatty():
        return text
    return "\n".join(wrapped(text, shutil.get_terminal_size().columns))


def print_lines(lines: Iterable[StyledText | StyledLine]) -> None:
    """Print lines; on a terminal they wrap between words."""
    colours, width = has_colours(), terminal_width()
    for line in lines:
        if width is not None and columns_of(line.plain) > width:
            # A line of several styles is longer than a terminal only where names are, and loses them.
            style = line.style if isinstance(line, StyledText) else ""
            parts: list[StyledText | StyledLine] = [StyledText(part, style) for part in wrapped(line.plain, width)]
        else:
            parts = [line]
        for part in parts:
            sys.stdout.write((part.ansi() if colours else part.plain) + "\n")
    sys.stdout.flush()


def progress() -> Progress:
    """Return a progress bar on standard error, which shows nothing unless that is a terminal."""
    from rich.progress import MofNCompleteColumn, TimeRemainingColumn

    return _progress(MofNCompleteColumn(), TimeRemainingColumn())


def transfer() -> Progress:
    """Return a progress bar like `progress` that counts bytes, and is gone at the end."""
    from rich.progress import DownloadColumn, TimeRemainingColumn, TransferSpeedColumn

    return _progress(DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn(), transient=True)


def _progress(*columns: ProgressColumn, transient: bool = False) -> Progress:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn

    console = Console(stderr=True)
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        *columns,
        console=console,
        transient=transient,
        disable=not console.is_terminal,
    )


def plain(cell: object, style: str = "") -> StyledText:
    """Return a cell without characters that control a terminal, since any client may have chosen the text."""
    text = NOTHING if cell is None or cell == "" else _YES_NO[cell] if isinstance(cell, bool) else str(cell)
    return StyledText("".join(character if character.isprintable() else "\ufffd" for character in text), style)


_YES_NO = {True: "yes", False: "no"}


def printable(text: str) -> str:
    """Return a text of several lines without other characters that control a terminal."""
    if text.isprintable():
        return text
    return "".join(character if character.isprintable() or character in "\n\t" else "\ufffd" for character in text)


def machines(run: Mapping[str, Any]) -> str:
    """Return the machines of a test run: those that were found, or else the host names that its sessions sent."""
    return ", ".join(dict.fromkeys(place["name"] for place in run.get("places", ()))) or ", ".join(run["nodes"])


def local_time(text: str) -> str:
    """Return an ISO 8601 time in the time zone of this machine, or in its own where that leaves the years 1 to 9999."""
    moment = datetime.fromisoformat(text)
    with suppress(OverflowError):
        moment = moment.astimezone()
    return moment.replace(tzinfo=None).isoformat(" ", "seconds")


def now() -> str:
    """Return the time of day on this machine."""
    return local_time(clock.now().isoformat())[11:]


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


def rate(value: float) -> str:
    """Return a number per second with one digit after the point, or two that are not 0 if it is small."""
    digits = 1 if value == 0 or abs(value) >= 1 else min(1 - math.floor(math.log10(abs(value))), 9)
    return f"{value:,.{digits}f}/s"


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
    """Return standard output for a live display; without a terminal it is wide."""
    from rich.console import Console

    return Console(highlight=False, width=None if sys.stdout.isatty() else _WIDTH_WITHOUT_TERMINAL)
