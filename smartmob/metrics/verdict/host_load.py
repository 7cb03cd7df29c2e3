"""The host load of a run: decides whether other programs kept a machine busy while tests ran. No I/O.

The tests themselves keep a machine busy, and some machines are never idle. So the load by other programs is compared
with the load by other programs in earlier runs.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from smartmob.kernel.runtime.host_names import is_same_host
from smartmob.medians import median

UNUSUAL_PERCENT = 25.0
"""Percent of all processors that other programs may take above their usual share before a run is unfit."""


class CpuLoad(Protocol):
    """The CPU use of a machine in a time span."""

    @property
    def avg(self) -> float:
        """Return the average, in percent of all processors."""


class WatchedHost(Protocol):
    """A machine that reports its load."""

    @property
    def host(self) -> str:
        """Return the name of the machine."""

    @property
    def cpu(self) -> CpuLoad | None:
        """Return its CPU use, or None if it reported none."""


class HostLoadSource(Protocol):
    """A source of host load."""

    async def busy(self, start: datetime, end: datetime) -> Sequence[WatchedHost]:
        """Return the machines that reported from `start` until before `end`, with their CPU use. Raises Unavailable."""


class SuiteLoad(msgspec.Struct, frozen=True):
    """The load by the tests of a run: its time span, and the seconds of processor time that they used."""

    started_at: datetime
    ended_at: datetime
    cpu_seconds: float

    @classmethod
    def combined(cls, loads: Sequence[SuiteLoad]) -> SuiteLoad | None:
        """Return the load of parallel sessions together, or None without any."""
        if not loads:
            return None
        first, last = (load.started_at for load in loads), (load.ended_at for load in loads)
        return cls(min(first), max(last), sum(load.cpu_seconds for load in loads))

    def cpu_percent(self, cpu_count: int) -> float:
        """Return the average load, in percent of all processors."""
        seconds = (self.ended_at - self.started_at).total_seconds()
        if seconds <= 0 or cpu_count <= 0:
            return 0.0
        return max(0.0, min(100.0 * self.cpu_seconds / seconds / cpu_count, 100.0))


class HostLoadFound(msgspec.Struct, frozen=True):
    """The CPU use of the machine while the head ran, in percent of all processors.

    `tests` is the load by the tests, `others` the rest, and `usual` the median of that rest in earlier runs, or null
    without any.
    """

    host: str
    busy: bool
    cpu: float
    tests: float
    others: float
    usual: float | None
    explanation: str


def cpu_of_node(node: str, hosts: Iterable[WatchedHost]) -> float | None:
    """Return the CPU use of the machine `node` in percent, or None if it did not report."""
    found = [host for host in hosts if is_same_host(host.host, node) and host.cpu is not None]
    found.sort(key=lambda host: host.host.lower() != node.lower())
    return found[0].cpu.avg if found and found[0].cpu is not None else None


def assess_load(node: str, cpu: float, tests: float, earlier: Sequence[float]) -> HostLoadFound:
    """Return whether a machine was unusually busy; `earlier` are the loads by other programs in earlier runs."""
    others = max(0.0, cpu - tests)
    usual = median(earlier) if earlier else None
    busy = others - (usual or 0.0) >= UNUSUAL_PERCENT
    than = f"usually {usual:.0f}%" if usual is not None else "the usual load is not known"
    explanation = (
        f"The processors of {node} were {cpu:.0f}% busy on average: {tests:.0f}% by the tests and {others:.0f}% by "
        f"something else ({than})."
    )
    return HostLoadFound(node, busy, cpu, tests, others, usual, explanation)
