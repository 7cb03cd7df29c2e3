"""Self monitoring of a turret: processor time, memory and event loop lag, to tell an overloaded load generator."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence

import psutil

from smartmob.turrets.protocol import Health

_PERIOD_SECONDS = 0.05
_SHORTEST_SECONDS = 0.5
"""The shortest time between two measurements: processor time has a resolution of 0.01 s."""


class LagMeter:
    """Measures the lag of the event loop: how late a callback runs that is due every 50 ms."""

    def __init__(self) -> None:
        self._longest = 0.0
        self._due = 0.0
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Start measuring; the event loop must be running."""
        self._due = time.monotonic() + _PERIOD_SECONDS
        self._timer = asyncio.get_running_loop().call_later(_PERIOD_SECONDS, self._called)

    def stop(self) -> None:
        """Stop measuring."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def take(self) -> float:
        """Return the longest lag since the last call in seconds, including one that still lasts."""
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
        self.read(())

    def read(self, workers: Sequence[int], lag: float = 0.0) -> Health:
        """Return the measurements since the last call, for this process and the workers with these process ids."""
        now = time.monotonic()
        span = now - self._measured
        if self._last is not None and span < _SHORTEST_SECONDS:
            return self._last
        own = psutil.Process().pid
        memory, shares = 0, []
        for pid in (own, *workers):
            try:
                process = self._processes.get(pid) or self._processes.setdefault(pid, psutil.Process(pid))
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
