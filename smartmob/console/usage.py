"""The processor and memory use of the programs in the last minutes, for their curves. It is kept in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import msgspec

from smartmob.kernel.runtime import clock
from smartmob.processes.model import ProcessSnapshot
from smartmob.processes.service import ProcessesService

STEP_SECONDS = 5.0
POINTS = 120
"""Points of a curve: ten minutes."""


class _Point(NamedTuple):
    at: float
    cpu: float
    memory: int


class ProcessUsage(msgspec.Struct, frozen=True):
    """The curve of a program: times in seconds since 1970, percent of one core, and bytes."""

    slug: str
    times: list[float]
    cpu: list[float]
    memory: list[int]


class Usage(msgspec.Struct, frozen=True):
    """The curves of all programs that ran in the last ten minutes."""

    processes: list[ProcessUsage]


class UsageRecorder:
    """Records the resource use of the programs, once every `STEP_SECONDS`."""

    def __init__(self, processes: ProcessesService) -> None:
        self._processes = processes
        self._points: dict[str, deque[_Point]] = {}

    async def run(self) -> None:
        """Record the resource use of the programs until it is cancelled."""
        while True:
            self.note(self._processes.processes(), clock.epoch())
            await asyncio.sleep(STEP_SECONDS)

    def note(self, snapshots: Iterable[ProcessSnapshot], now: float) -> None:
        """Add a point for each program that runs, and forget the programs without a point in the last ten minutes."""
        for snapshot in snapshots:
            if snapshot.sample is not None:
                points = self._points.setdefault(snapshot.definition.slug, deque(maxlen=POINTS))
                points.append(_Point(now, snapshot.sample.cpu_percent, snapshot.sample.memory))
        oldest = now - POINTS * STEP_SECONDS
        self._points = {slug: points for slug, points in self._points.items() if points[-1].at > oldest}

    def curves(self) -> Usage:
        """Return the curves of all programs, by their names."""
        return Usage(
            [
                ProcessUsage(
                    slug,
                    [round(point.at, 1) for point in points],
                    [round(point.cpu, 1) for point in points],
                    [point.memory for point in points],
                )
                for slug, points in sorted(self._points.items())
            ]
        )
