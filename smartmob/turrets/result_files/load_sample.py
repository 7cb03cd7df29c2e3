"""The common form of results of other load testing tools: samples, and the account of a file. No I/O."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, TypeVar

import msgspec

from smartmob.errors import InvalidInput
from smartmob.tally import Tally

T = TypeVar("T")

EARLIEST, LATEST = 946_684_800.0, 4_102_444_800.0
"""The first and the last time that a file can have: the years 2000 and 2100, in seconds since 1970."""

LONGEST_CELL = 16 * 1024 * 1024
"""Characters of the longest cell of CSV that is read; a traceback or an answer can be one cell."""

NOT_PLACED = "without a valid time"
NO_DURATION = "successes without a duration"
CUT_OFF = "cut off"
NOT_READ = "not understood"
"""Kinds of the tallies of all readers."""


@dataclass(slots=True)
class LoadSample:
    """A request, or a group of them, that ended at `end` (seconds since 1970) after `seconds` (None if unknown).

    `counted` samples are transactions; others are only values of their timer, such as the total of a group of requests.
    A failure has an `error` text, and the `kind` and `code` of the error if they are known.
    """

    end: float
    seconds: float | None
    timer: str
    failed: bool = False
    error: str = ""
    kind: str = ""
    code: str = ""
    counted: bool = True


@dataclass
class FileAccount:
    """The account of one file.

    `left_out` counts what is left out or no transaction on purpose, `remarks` what was not understood. `notes` tell
    about the result.
    """

    left_out: Tally = field(default_factory=Tally)
    remarks: Tally = field(default_factory=Tally)
    notes: dict[str, None] = field(default_factory=dict)

    def note(self, text: str) -> None:
        """Add a note, once."""
        self.notes[text] = None


Read = Callable[[BinaryIO, FileAccount], Iterator[LoadSample]]
"""A reader: yields the samples of a file as they come. Raises InvalidInput if the file cannot be read."""


@contextmanager
def csv_text(file: BinaryIO, longest_cell: int = LONGEST_CELL) -> Iterator[io.TextIOWrapper]:
    """Give a file as text to read CSV from, with cells of at most so many characters; the file stays open.

    Raises InvalidInput for what is no CSV.
    """
    csv.field_size_limit(longest_cell)
    text = io.TextIOWrapper(file, "utf-8-sig", errors="replace", newline="")
    try:
        yield text
    except csv.Error as error:
        raise InvalidInput(f"a row cannot be read: {error}") from None
    finally:
        text.detach()


def json_lines(
    file: BinaryIO, decoder: msgspec.json.Decoder[T], longest_bytes: int, account: FileAccount
) -> Iterator[T]:
    """Yield the documents of the lines; a line that is none is a remark, and an empty one is skipped."""
    while line := file.readline(longest_bytes):
        if not line.strip():
            continue
        try:
            document = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError):
            account.remarks.add(NOT_READ if line.endswith(b"\n") else CUT_OFF, line[:200].decode(errors="replace"))
            continue
        yield document


def is_placed(end: float) -> bool:
    """Return whether a time can be that of a result."""
    return EARLIEST <= end <= LATEST
