"""Aggregates samples of another tool into slices of one second, like those that turrets send. No I/O.

A file is read twice: `SampleSummary` finds its span and its timers, `slices` then yields slices in bounded memory.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime

from smartmob.errors import InvalidInput
from smartmob.turrets.hq.aggregation import count_error
from smartmob.turrets.model import Doubt
from smartmob.turrets.names import FURTHER_TIMERS, timer_name
from smartmob.turrets.outcomes import Outcomes
from smartmob.turrets.protocol import LONGEST_CODE, LONGEST_ERROR, LONGEST_NAME, MOST_TIMERS, ErrorKind, Slice
from smartmob.turrets.result_files.idle_spans import BusySeconds
from smartmob.turrets.result_files.load_sample import LoadSample
from smartmob.turrets.slices import NO_KIND, TRANSACTION

LONGEST_RUN = 31 * 86_400.0
"""Seconds between the first and the last sample of a file: the limit of `run_time` of a run."""

_SHORTEST_RUN = 0.001
"""Seconds of a run whose only sample took no time."""

_MOST_OPEN = 20_000
"""Distributions of a second and a timer in memory; the earliest ones become slices when there are more.

If further samples of such a second follow, they make another slice, which is added to the first one.
"""


class SampleSummary:
    """The span, the counts and the timers of the samples of a file.

    A file may have no sample that is a transaction, such as one with only transaction controllers. In that case all
    samples count as transactions (`all_count`).
    """

    def __init__(self, samples: Iterable[LoadSample]) -> None:
        first, last = math.inf, -math.inf
        self.transactions = self.errors = self.others = self.other_errors = 0
        self.timers: dict[str, str] = {}
        self._busy = BusySeconds()
        for sample in samples:
            begin = sample.end - (sample.seconds or 0.0)
            first = min(first, begin)
            last = max(last, sample.end)
            self._busy.add(begin, sample.end)
            if sample.counted:
                self.transactions += 1
                self.errors += sample.failed
            else:
                self.others += 1
                self.other_errors += sample.failed
            if sample.timer not in self.timers and len(self.timers) < MOST_TIMERS - 1:
                self.timers[sample.timer] = timer_name(sample.timer)
        self._first, self._last = first, last
        self.all_count = not self.transactions
        if self.all_count:
            self.transactions, self.errors, self.others = self.others, self.other_errors, 0
        if self.transactions and self.duration > LONGEST_RUN:
            raise InvalidInput(
                f"its samples are from {self._moment(first):%Y-%m-%d %H:%M} to {self._moment(last):%Y-%m-%d %H:%M}: "
                f"a run has at most {LONGEST_RUN / 86_400:.0f} days; divide the file"
            )

    @property
    def started_at(self) -> datetime:
        """Return when the first sample began."""
        return self._moment(self._first)

    @property
    def started(self) -> float:
        """Return when the first sample began, in seconds since 1970."""
        return self._first

    @property
    def duration(self) -> float:
        """Return the seconds from the beginning of the first sample to the end of the last one."""
        return max(self._last - self._first, _SHORTEST_RUN)

    def doubts(self) -> list[Doubt]:
        """Return the doubts about the rates of the file: gaps, and times that go back."""
        return self._busy.doubts(self.transactions, self.duration)

    @staticmethod
    def _moment(seconds: float) -> datetime:
        return datetime.fromtimestamp(seconds, UTC)


def slices(samples: Iterable[LoadSample], summary: SampleSummary) -> Iterator[Slice]:
    """Yield the slices of samples; those of a second come together, unless its samples are far apart in the file."""
    seconds: dict[int, dict[str, Outcomes]] = {}
    opened = 0
    last_second = int(summary.duration)
    for sample in samples:
        second = min(max(int(sample.end - summary.started), 0), last_second)
        timers = seconds.setdefault(second, {})
        names = [summary.timers.get(sample.timer, FURTHER_TIMERS)]
        if sample.counted or summary.all_count:
            names.append(TRANSACTION)
        for name in names:
            outcomes = timers.get(name)
            if outcomes is None:
                outcomes = timers[name] = Outcomes()
                opened += 1
            _record(outcomes, sample)
        if opened > _MOST_OPEN:
            for early in sorted(seconds)[: max(len(seconds) // 2, 1)]:
                opened -= len(seconds[early])
                yield from _closed(early, seconds.pop(early))
    for second in sorted(seconds):
        yield from _closed(second, seconds[second])


def _record(outcomes: Outcomes, sample: LoadSample) -> None:
    if not sample.failed:
        outcomes.ok.record(sample.seconds or 0.0)
        return
    failed = outcomes.failed
    if sample.seconds is None:
        failed.untimed += 1
    else:
        failed.record(sample.seconds)
    known = bool(sample.kind or sample.code)
    kind = ErrorKind(sample.kind[:LONGEST_NAME], sample.code[:LONGEST_CODE]) if known else NO_KIND
    count_error(failed, _plain(sample.error)[:LONGEST_ERROR] or "failed", kind)


def _plain(text: str) -> str:
    """Return a text without NUL and lone surrogates, which the database cannot store."""
    return text.encode("utf-8", "replace").decode().replace("\0", "\ufffd")


def _closed(second: int, timers: dict[str, Outcomes]) -> Iterator[Slice]:
    for name, outcomes in timers.items():
        yield from outcomes.slices(second, name)
