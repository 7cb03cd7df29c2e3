"""The common form of results of other load testing tools: samples, and the account of a file. No I/O."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO, TypeVar

import msgspec

from smartmob.errors import InvalidInput
from smartmob.tally import Tally
from smartmob.turrets.model import Doubt

T = TypeVar("T")

EARLIEST, LATEST = 946_684_800.0, 4_102_444_800.0
"""The first and the last time that a file can have: the years 2000 and 2100, in seconds since 1970."""

MOST_USER_COUNTS = 600
"""Steps over time of the number of users."""
LONGEST_CELL = 16 * 1024 * 1024
"""Characters of the longest cell of CSV that is read; a traceback or an answer can be one cell."""

NO_VALID_TIME = "without a valid time"
NO_DURATION = "successes without a duration"
NO_NUMBER = "with a non-numeric value"
CUT_OFF = "cut off"
NOT_READ = "not understood"
AGGREGATED = "several requests in one sample, without a time for each (set JMeter's mode to StrippedBatch)"
"""The kinds of counts that all readers share."""


class LoadSample(msgspec.Struct):
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


class UserCounts:
    """The number of users over time, in at most `MOST_USER_COUNTS` steps: the largest of each step."""

    def __init__(self) -> None:
        self._step = 1
        self._found: dict[int, float] = {}

    def add(self, at: float, users: float | None) -> None:
        """Add the number of users at a time in seconds since 1970, unless it is unknown."""
        if users is None or not is_valid_time(at):
            return
        self._put(int(at), users)
        while len(self._found) > MOST_USER_COUNTS:
            self._step *= 2
            earlier, self._found = self._found, {}
            for begin, count in earlier.items():
                self._put(begin, count)

    def _put(self, at: int, users: float) -> None:
        step = at // self._step * self._step
        self._found[step] = max(self._found.get(step, 0.0), users)

    def since(self, start: float) -> list[tuple[float, int]]:
        """Return the counts as pairs of seconds after a start and users, without repetitions."""
        made: list[tuple[float, int]] = []
        for at, users in sorted(self._found.items()):
            if made and made[-1][1] == int(users) and at != max(self._found):
                continue
            made.append((max(at - start, 0.0), int(users)))
        return made


class FileAccount(msgspec.Struct):
    """The account of one file.

    `left_out` counts samples that are intentionally left out or not transactions; `remarks` counts those that were not
    understood. `notes` are about the result, `doubts` about its rates; `users` has the number of users over time.
    `parts` counts the beginnings of runs.
    """

    left_out: Tally = msgspec.field(default_factory=Tally)
    remarks: Tally = msgspec.field(default_factory=Tally)
    notes: dict[str, None] = msgspec.field(default_factory=dict)
    doubts: list[Doubt] = msgspec.field(default_factory=list)
    users: UserCounts = msgspec.field(default_factory=UserCounts)
    parts: int = 0

    def note(self, text: str) -> None:
        """Add a note, once."""
        self.notes[text] = None


Read = Callable[[BinaryIO, FileAccount], Iterator[LoadSample]]
"""A reader: yields the samples of a file in their order. Raises InvalidInput if the file cannot be read."""


@contextmanager
def csv_text(file: BinaryIO, longest_cell: int = LONGEST_CELL) -> Iterator[io.TextIOWrapper]:
    """Give a file as text to read CSV from, with at most `longest_cell` characters in a cell; the file stays open.

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
    """Yield the documents of the lines; an invalid line is a remark, and an empty one is skipped."""
    number = 0
    while line := file.readline(longest_bytes):
        number += 1
        if not line.strip():
            continue
        try:
            document = decoder.decode(line)
        except (msgspec.MsgspecError, UnicodeDecodeError) as error:
            reason = f"{error}: " if isinstance(error, msgspec.ValidationError) else ""
            _remark_on_line(account, number, line, reason)
            continue
        yield document


def _remark_on_line(account: FileAccount, number: int, line: bytes, reason: str) -> None:
    text = line[:200].decode(errors="replace").rstrip()
    if line.endswith(b"\n"):
        account.remarks.add(NOT_READ, f"line {number}: {reason}{text}")
    else:
        account.remarks.add(CUT_OFF, f"line {number}: {text}")


_OTHER_UNITS = ((1e3, "seconds"), (1e-3, "microseconds"), (1e-6, "nanoseconds"))


def no_valid_time(end: float | None) -> str:
    """Return the kind of remark for a time of a file in milliseconds that is none, given in seconds since 1970."""
    for factor, unit in _OTHER_UNITS:
        if end is not None and is_valid_time(end * factor):
            return f"{NO_VALID_TIME}: it seems to be in {unit}, and milliseconds are needed"
    return NO_VALID_TIME


def is_valid_time(end: float) -> bool:
    """Return whether a time can be that of a result."""
    return EARLIEST <= end <= LATEST
