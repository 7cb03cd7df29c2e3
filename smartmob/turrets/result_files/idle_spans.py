"""The spans of a file in which no request was under way, and times that go back, as doubts about its rates. No I/O.

Several runs in one file, a gap within a run, and a clock that was set meanwhile all look alike.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime

from smartmob import duration_text
from smartmob.turrets.model import Doubt

LEAST_SECONDS = 30
"""Seconds without an active request from which a span is reported: longer than a pause between two steps of a load."""
MOSTLY_IDLE = 0.5
"""Share of the time of a file above which its rates say nothing about the load."""
BACK_SECONDS = 60.0
"""Times count as going back when a sample begins and ends this many seconds before the previous sample."""

_DAY_SECONDS = 86_400
_MOST_DAYS = 40
"""Days that are kept; a file with more days is refused."""
_IDLE = re.compile(rb"\0{%d,}" % LEAST_SECONDS)

Span = tuple[float, float]
"""The start of a span in seconds since 1970, and its length in seconds."""


class BusySeconds:
    """The seconds in which requests were under way, and how often times went back."""

    def __init__(self) -> None:
        self._days: dict[int, bytearray] = {}
        self._before = (float("-inf"), float("-inf"))
        self._second = -1  # the second that was marked last
        self._back = 0
        self._first_back = (0.0, 0.0)

    def add(self, start: float, end: float) -> None:
        """Add a request by its start and end in seconds since 1970, in the order of the file."""
        if start <= self._before[0] - BACK_SECONDS and end <= self._before[1] - BACK_SECONDS:
            if not self._back:
                self._first_back = end, self._before[1] - end
            self._back += 1
        self._before = start, end
        first, last = int(start), int(end)
        if first == last == self._second:
            return  # as nearly all requests are
        self._second = last
        for day in range(first // _DAY_SECONDS, min(last // _DAY_SECONDS, first // _DAY_SECONDS + _MOST_DAYS) + 1):
            seconds = self._days.get(day)
            if seconds is None:
                if len(self._days) >= _MOST_DAYS:
                    return
                seconds = self._days[day] = bytearray(_DAY_SECONDS)
            low, high = max(first - day * _DAY_SECONDS, 0), min(last - day * _DAY_SECONDS, _DAY_SECONDS - 1)
            if low == high:
                seconds[low] = 1
            else:
                seconds[low : high + 1] = b"\1" * (high + 1 - low)

    def idle_spans(self) -> list[Span]:
        """Return the spans without a request under way between the first and the last one."""
        if not self._days:
            return []
        first = min(self._days)
        blank = bytes(_DAY_SECONDS)
        days = range(first, min(max(self._days), first + _MOST_DAYS) + 1)
        whole = b"".join(self._days.get(day, blank) for day in days).rstrip(b"\0")
        start = len(whole) - len(whole.lstrip(b"\0"))
        return [
            (float(first * _DAY_SECONDS + found.start()), float(found.end() - found.start()))
            for found in _IDLE.finditer(whole, start)
        ]

    def doubts(self, transactions: int, duration: float) -> list[Doubt]:
        """Return the doubts about the rates of a file with this number of transactions in `duration` seconds."""
        found = idle_doubts(self.idle_spans(), transactions, duration)
        if self._back:
            at, seconds = self._first_back
            often = "once" if self._back == 1 else f"{self._back:,} times"
            found.append(back_doubt(often, seconds, at))
        return found


def back_doubt(often: str, seconds: float, at: float) -> Doubt:
    """Return the doubt about a file whose times go back so often, first by some seconds to a time."""
    return Doubt(
        "warning",
        f"The times of the file go back {often}, first by {duration_text.seconds(seconds)} to {_clock(at)}: files were "
        "joined, or a clock was set. Requests of the same time are added up.",
    )


def idle_doubts(spans: Sequence[Span], transactions: int, duration: float) -> list[Doubt]:
    """Return the doubt about the rate of a run with these idle spans, if it has any."""
    idle = sum(seconds for _, seconds in spans)
    if not idle:
        return []
    start, longest = max(spans, key=lambda span: span[1])
    busy = max(duration - idle, 1.0)
    text = (
        f"No request was under way for {duration_text.seconds(idle)} of {duration_text.seconds(duration)}, for "
        f"{duration_text.seconds(longest)} without a break from {_clock(start)} on: the file may have several runs or "
        f"a gap, or a clock was set. Rates are of the whole time; without these gaps it is {transactions / busy:.3g}/s."
    )
    return [Doubt("bad" if idle >= duration * MOSTLY_IDLE else "warning", text)]


def parts_doubt(parts: int) -> list[Doubt]:
    """Return the doubt about a file with the beginnings of several runs."""
    if parts <= 1:
        return []
    text = f"The file has the beginnings of {parts:,} runs, which are one run here: import each of them alone."
    return [Doubt("warning", text)]


def gaps_between(times: Iterable[float], usual: float) -> list[Span]:
    """Return the gaps of at least `LEAST_SECONDS` between sorted times that are usually `usual` seconds apart."""
    found: list[Span] = []
    before: float | None = None
    for at in times:
        if before is not None and at - before - usual >= LEAST_SECONDS:
            found.append((before, at - before - usual))
        before = at
    return found


def _clock(at: float) -> str:
    return f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M:%S} UTC"
