"""The common form of results of other load testing tools: samples, and the account of a file. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import BinaryIO

from smartmob.tally import Tally

EARLIEST, LATEST = 946_684_800.0, 4_102_444_800.0
"""The first and the last time that a file can have: the years 2000 and 2100, in seconds since 1970."""

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


def is_placed(end: float) -> bool:
    """Return whether a time can be that of a result."""
    return EARLIEST <= end <= LATEST
