"""A turret watches itself: whether the machine and the program could do what the plan asked for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import psutil

from smartmob.turrets.protocol import Health

_PERIOD = 0.05
_SHORTEST = 0.5
"""Seconds below which the last figures are told again: processor time is counted in hundredths of a second."""


class LagMeter:
    """Measures how late the event loop is: a call that is due every 50 ms notes when it came later."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Begin to measure; the loop must run."""
        self._due = time.monotonic() + _PERIOD
        self._timer = asyncio.get_running_loop().call_later(_PERIOD, self._called)

    def stop(self) -> None:
        """End."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take(self) -> float:
        """Return the longest delay since the last time, in seconds; one that still lasts counts, too."""
        longest = max(self._longest, time.monotonic() - self._due if self._timer is not None else 0.0)
        self._longest = 0.0
        return longest

    def _called(self) -> None:
        self._longest = max(self._longest, time.monotonic() - self._due)
        self.start()


class SelfMonitor:
    """Measures processor time and memory of this process and of its workers."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}
        self._used: dict[int, float] = {}
        self._measured = time.monotonic()
        self._cores = len(psutil.Process().cpu_affinity()) if hasattr(psutil.Process, "cpu_affinity") else 0
        self._cores = self._cores or psutil.cpu_count() or 1
        self._last: Health | None = None
        self.look(())

    def look(self, workers: Sequence[int], lag: float = 0.0) -> Health:
        """Return the figures since the last look, for this process and the workers with these process ids."""
        now = time.monotonic()
        span = now - self._measured
        if self._last is not None and span < _SHORTEST:
            return self._last
        own = psutil.Process().pid
        memory, shares = 0, []
        for pid in (own, *workers):
            process = self._processes.get(pid) or self._processes.setdefault(pid, psutil.Process(pid))
            try:
                with process.oneshot():
                    times = process.cpu_times()
                    memory += process.memory_info().rss
            except psutil.NoSuchProcess:
                continue
            used = times.user + times.system
            shares.append((used - self._used.get(pid, used)) / span if span else 0.0)
            self._used[pid] = used
        self._measured = now
        self._last = Health(
            cpu=round(sum(shares), 3),
            busiest=round(max(shares, default=0.0), 3),
            cores=self._cores,
            lag=lag,
            memory=memory,
            processes=1 + len(workers),
        )
        return self._last
