"""The load of the processors: of the machine, or of the container in which this program runs."""

from __future__ import annotations

import time
from typing import Any

import psutil

from smartmob.hosts.sampler import cgroups
from smartmob.hosts.sampler.machine_files import Roots
from smartmob.hosts.sampler.probe import Unreadable


class ProcessorLoads:
    """Reads loads, which are averages since the last reading; the first one covers the time since the construction."""

    def __init__(self, roots: Roots) -> None:
        self._roots = roots
        self._times: list[Any] = []
        self._loads: list[float] = []
        self._used: float | None = None
        self._used_at = time.monotonic()
        self.limit: cgroups.ProcessorLimit | None = None
        """The limit of the container, if there is one; it can change while the container runs."""
        try:
            self._times = psutil.cpu_times(percpu=True)
            self._loads = [0.0] * len(self._times)
            self._container_load()
        except Exception:  # the first reading reports the reason
            self._times = []

    def read(self) -> tuple[float, list[float]]:
        """Return the load of all processors and that of each one, in percent. Raises Unreadable."""
        times = psutil.cpu_times(percpu=True)
        before, self._times = self._times, times
        container = self._container_load()
        if len(times) != len(before) or not times:
            self._loads = [0.0] * len(times)
            raise Unreadable("the number of processors has changed" if before else "this is the first reading")
        cores = [_load(now, then, known) for now, then, known in zip(times, before, self._loads, strict=True)]
        self._loads = cores
        if container is None:
            return round(sum(cores) / len(cores), 1), cores
        assert self.limit is not None
        numbers = self.limit.numbers
        return container, cores if numbers is None else [cores[number] for number in numbers if number < len(cores)]

    def _container_load(self) -> float | None:
        """Return the load of the container in percent of its limit, or None without a limit."""
        self.limit = cgroups.processor_limit(self._roots, len(self._times))
        if self.limit is None:
            self._used = None
            return None
        used, now = cgroups.processor_seconds(self.limit), time.monotonic()
        before, elapsed = self._used, now - self._used_at
        self._used, self._used_at = used, now
        if used is None or before is None or used < before or elapsed <= 0:
            return None
        return round(min(100.0, 100 * (used - before) / elapsed / self.limit.cpus), 1)


def _load(now: Any, before: Any, known: float) -> float:
    total, idle = _total(now) - _total(before), _idle(now) - _idle(before)
    return round(min(100.0, max(0.0, 100 * (total - idle) / total)), 1) if total > 0 else known


def _total(times: Any) -> float:
    # On Linux user time includes guest time (proc_stat(5)).
    return float(sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0))


def _idle(times: Any) -> float:
    return float(times.idle + getattr(times, "iowait", 0.0))
