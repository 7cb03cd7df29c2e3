"""The messages by which results of another tool become a run: one line with the head, and lines with slices. No I/O."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from smartmob.errors import InvalidInput
from smartmob.turrets.model import MOST_CONDITIONS, Doubt, ErrorText, ImportSource, Run, RunPoint, TimerStats
from smartmob.turrets.protocol import LONGEST_NAME, MOST_TIMERS, Slice
from smartmob.turrets.result_files.load_sample import MOST_USER_COUNTS

HEADQUARTERS = "imported"
"""The headquarters of imported runs, which no service has: headquarters of services are named by paths."""

_NAMESPACE = uuid.UUID("5b0d6a52-6c43-5f0c-9c3a-1f6f5d2f7b11")
"""The namespace of the ids of imported runs (RFC 9562, section 5.5)."""

LONGEST_RUN = 31 * 86_400.0
"""Seconds that a run may take, as `run_time` of a run that is fired."""

SLICES_OF_LINE = 16
"""The most slices of a line: their histograms unpack to at most `slices.MOST_UNPACKED` bytes together."""

MOST_POINTS, MOST_ERRORS = 600, 100
"""The most points over time, and the most errors, of a timer with given statistics."""

LONGEST_NOTE = 1000
"""Characters of a note and of a doubt."""

_Name = Annotated[str, msgspec.Meta(max_length=LONGEST_NAME)]


class GivenStats(msgspec.Struct, kw_only=True):
    """Statistics that another tool computed: percentiles as given, without the samples or a distribution.

    `started_at` and `duration` (seconds) are None if the files do not have them.
    """

    started_at: datetime | None = None
    duration: float | None = None
    timers: Annotated[dict[_Name, TimerStats], msgspec.Meta(max_length=MOST_TIMERS)] = {}
    points: Annotated[
        dict[_Name, Annotated[list[RunPoint], msgspec.Meta(max_length=MOST_POINTS)]],
        msgspec.Meta(max_length=MOST_TIMERS),
    ] = {}
    errors: Annotated[
        dict[_Name, Annotated[list[ErrorText], msgspec.Meta(max_length=MOST_ERRORS)]],
        msgspec.Meta(max_length=MOST_TIMERS),
    ] = {}

    def add(self, more: GivenStats) -> None:
        """Add the statistics of further timers. Raises InvalidInput if there are too many."""
        self.started_at = self.started_at or more.started_at
        self.duration = self.duration or more.duration
        self.timers |= more.timers
        self.points |= more.points
        self.errors |= more.errors
        if max(len(self.timers), len(self.points), len(self.errors)) > MOST_TIMERS:
            raise InvalidInput.at("$.given", f"has more than {MOST_TIMERS} timers")

    def parts(self) -> Iterator[GivenStats]:
        """Yield the statistics timer by timer, for one line each."""
        for name, stats in self.timers.items():
            yield GivenStats(
                started_at=self.started_at,
                duration=self.duration,
                timers={name: stats},
                points={name: self.points[name]} if name in self.points else {},
                errors={name: self.errors[name]} if name in self.errors else {},
            )


class GivenDoubt(msgspec.Struct, frozen=True):
    """A reason not to trust the rates of a file."""

    level: Literal["warning", "bad"]
    what: Annotated[str, msgspec.Meta(max_length=LONGEST_NOTE)]


class ImportHead(msgspec.Struct, frozen=True, kw_only=True):
    """The head of an import. Of two imports with the same `format` and `digest`, one run is stored.

    `fail_if` are conditions that the run must not meet, as in the configuration of a project.
    """

    format: Annotated[str, msgspec.Meta(min_length=1, max_length=40)]
    digest: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{32,128}$")]
    file: Annotated[str, msgspec.Meta(max_length=300)] = ""
    name: Annotated[str, msgspec.Meta(max_length=200)] = ""
    started_at: datetime | None = None
    duration: Annotated[float, msgspec.Meta(gt=0, le=LONGEST_RUN)]
    notes: Annotated[list[Annotated[str, msgspec.Meta(max_length=LONGEST_NOTE)]], msgspec.Meta(max_length=100)] = []
    doubts: Annotated[list[GivenDoubt], msgspec.Meta(max_length=20)] = []
    aggregated: bool = False
    users: Annotated[
        list[tuple[Annotated[float, msgspec.Meta(ge=0, le=LONGEST_RUN)], Annotated[int, msgspec.Meta(ge=0, le=2**53)]]],
        msgspec.Meta(max_length=MOST_USER_COUNTS + 1),
    ] = []
    fail_if: Annotated[
        list[Annotated[str, msgspec.Meta(min_length=1, max_length=400)]], msgspec.Meta(max_length=MOST_CONDITIONS)
    ] = []

    def run_id(self) -> uuid.UUID:
        """Return the id of the run, which follows from the content of the file."""
        return uuid.uuid5(_NAMESPACE, f"{self.format}:{self.digest}")

    def source(self) -> ImportSource:
        """Return the origin of the run."""
        doubts = [Doubt(each.level, each.what) for each in self.doubts]
        return ImportSource(
            self.format, self.file, self.digest, self.notes, aggregated=self.aggregated, users=self.users, doubts=doubts
        )


class ImportLine(msgspec.Struct, frozen=True, kw_only=True):
    """A line of an import: the first one has the `head`, the others have `slices` or `given` statistics."""

    head: ImportHead | None = None
    given: GivenStats | None = None
    slices: Annotated[list[Slice], msgspec.Meta(max_length=SLICES_OF_LINE)] = []


class ImportedRun(msgspec.Struct, frozen=True):
    """The run of an import; `known` says that it was stored before, and nothing was changed."""

    run: Run
    known: bool


LINE = msgspec.json.Decoder(ImportLine)
LINES = msgspec.json.Decoder(list[ImportLine])
