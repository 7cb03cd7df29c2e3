"""Measures of tests on both sides of an experiment, and what follows from them. No I/O.

The bounds of the fields are for reports that come from other machines.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Literal
from uuid import UUID

import msgspec

from smartmob.medians import median

_LARGEST_INTEGER = 2**63 - 1  # of 64 bits, beyond which numbers cannot be written as JSON by all writers

Name = Annotated[str, msgspec.Meta(max_length=20_000)]
"""The name of a test: a node id of pytest, with the values of its parameters."""
Text = Annotated[str, msgspec.Meta(max_length=20_000)]
Count = Annotated[int, msgspec.Meta(ge=0, le=_LARGEST_INTEGER)]
Seconds = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Fact = Text | Annotated[int, msgspec.Meta(ge=-_LARGEST_INTEGER, le=_LARGEST_INTEGER)] | float | bool | None

Verdict = Literal["slower", "faster", "same", "undecided", "unfit"]
Counted = Literal["more", "fewer", "equal", "varies", "not confirmed", "not counted"]
Deciding = Literal["", "clock", "instructions"]

_COLD_CALLS_COUNT = 1
"""The first of several calls fills caches, so it is left out."""


class Measure(msgspec.Struct, frozen=True):
    """The measures of one test in one process, as `smartmob/pytest_measures.py` writes them; times in ns."""

    test: str
    outcome: str
    file: str = ""
    wall: list[int] = []
    cpu: list[int] = []
    queue: list[int] = []
    setup: list[int] = []
    teardown: list[int] = []
    memory: int | None = None
    counts: list[str] = []
    instructions: list[int] = []

    @property
    def own_ns(self) -> float:
        """Return the time of a call without waiting for a processor: the median of all calls but the first."""
        own = [max(1, wall - queue) for wall, queue in zip(self.wall, self.queue, strict=True)]
        return median(own[_COLD_CALLS_COUNT:] or own)

    @property
    def cpu_ns(self) -> float:
        """Return the time of a call on a processor."""
        return max(1.0, median(self.cpu[_COLD_CALLS_COUNT:] or self.cpu))

    @property
    def queue_share(self) -> float:
        """Return the share of its time that a call has waited for a processor; the median of the calls that count."""
        shares = [queue / max(1, wall) for wall, queue in zip(self.wall, self.queue, strict=True)]
        return median(shares[_COLD_CALLS_COUNT:] or shares)

    @property
    def idle_share(self) -> float:
        """Return the share of its own time in which the test waited for anything but a processor."""
        return max(0.0, 1.0 - self.cpu_ns / self.own_ns)

    @property
    def is_usable(self) -> bool:
        """Return whether the test has passed and was measured."""
        return self.outcome == "passed" and bool(self.wall)


class Instructions(msgspec.Struct, frozen=True):
    """The instructions of one call on both sides.

    `spread` is the spread of the differences of single calls, as a share.
    """

    verdict: Counted
    base: Count | None = None
    head: Count | None = None
    ratio: float | None = None
    spread: float | None = None


class MemoryDifference(msgspec.Struct, frozen=True):
    """The difference of the peak of the memory of one call, in bytes."""

    verdict: Literal["more", "less", "same", "undecided"]
    difference: float
    low: float | None
    high: float | None


class VerdictOnTest(msgspec.Struct, frozen=True):
    """The verdict on one test.

    `ratio` is head / base of the times, with the interval `low` to `high`, each None until it has a bound. `witness` is
    the measure that decided: `clock`, `instructions`, or nothing. `clock` is the verdict of the clock alone.
    """

    name: Name
    verdict: Verdict
    witness: Deciding
    clock: Verdict
    ratio: float | None
    low: float | None
    high: float | None
    cpu_ratio: float | None
    pairs: Count
    set_aside: Count
    base_seconds: Seconds | None
    head_seconds: Seconds | None
    instructions: Instructions | None = None
    memory: MemoryDifference | None = None
    reason: Text = ""


class Pair(msgspec.Struct, frozen=True):
    """The log-ratios of one pair of processes by test, which side ran first, and the load by other programs.

    It began `at` seconds after the experiment and took `seconds`.
    """

    number: Count
    first: Literal["base", "head"]
    seed: Count
    seconds: Seconds
    ratios: Mapping[Name, float]
    others: Mapping[Text, Seconds] = {}
    at: Seconds = 0.0


class SideReport(msgspec.Struct, frozen=True):
    """A side: the text that names it, and what this stands for."""

    given: Text
    kind: Text
    commit: Text = ""
    python: Text = ""


class ExperimentReport(msgspec.Struct, frozen=True):
    """The result of an experiment: the document of `smartmob ab --json`."""

    verdict: Verdict
    base: SideReport
    head: SideReport
    tests: Annotated[list[VerdictOnTest], msgspec.Meta(max_length=100_000)]
    min_effect: float
    confidence: float
    pairs: Annotated[list[Pair], msgspec.Meta(max_length=10_000)]
    seconds: Seconds
    ended: Text
    machine: Mapping[Text, Fact]
    notes: Annotated[list[Text], msgspec.Meta(max_length=1_000)] = []
    id: UUID | None = None
    started_at: Annotated[datetime, msgspec.Meta(tz=True)] | None = None
