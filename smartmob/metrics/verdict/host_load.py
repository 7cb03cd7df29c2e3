"""Whether a machine was busy with something else while tests ran: what is asked of whoever watches machines.

The tests themselves keep a machine busy, and some machines are never idle. So what counts is what the machine did
besides the tests, against what it usually does besides them.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

import msgspec

from smartmob.kernel.runtime.host_names import is_same_host

UNUSUAL = 25.0
"""Percent of all processors that something else may take more than usual before a run is unfit."""


class CpuLoad(Protocol):
    """How busy the processors of a machine were."""

    @property
    def avg(self) -> float:
        """Return the average in percent of all processors."""


class WatchedHost(Protocol):
    """A machine that reports its load."""

    @property
    def host(self) -> str:
        """Return its name."""

    @property
    def cpu(self) -> CpuLoad | None:
        """Return how busy it was, None where it did not tell."""


class HostLoadSource(Protocol):
    """Knows how busy machines were."""

    async def busy(self, start: datetime, end: datetime) -> Sequence[WatchedHost]:
        """Return the machines that reported from `start` until before `end`. Raises Unavailable."""


class SuiteLoad(msgspec.Struct, frozen=True):
    """What the tests of a run themselves took of a machine: its span, and the seconds of processor time."""

    started_at: datetime
    ended_at: datetime
    cpu_seconds: float

    @classmethod
    def together(cls, efforts: Sequence[SuiteLoad]) -> SuiteLoad | None:
        """Return what parallel sessions took together, None without any."""
        if not efforts:
            return None
        first, last = (effort.started_at for effort in efforts), (effort.ended_at for effort in efforts)
        return cls(min(first), max(last), sum(effort.cpu_seconds for effort in efforts))

    def share(self, cpu_count: int) -> float:
        """Return what they took of all processors, in percent."""
        seconds = (self.ended_at - self.started_at).total_seconds()
        if seconds <= 0 or cpu_count <= 0:
            return 0.0
        return max(0.0, min(100.0 * self.cpu_seconds / seconds / cpu_count, 100.0))


class HostLoadFound(msgspec.Struct, frozen=True):
    """How busy the machine was while the head ran, in percent of all processors.

    `tests` is what the tests took, `others` the rest, `usual` the median of that rest in earlier runs if there are any.
    """

    host: str
    busy: bool
    cpu: float
    tests: float
    others: float
    usual: float | None
    explanation: str


def load_on(node: str, hosts: Iterable[WatchedHost]) -> float | None:
    """Return how busy the machine `node` was in percent, or None where it did not report."""
    found = [host for host in hosts if is_same_host(host.host, node) and host.cpu is not None]
    found.sort(key=lambda host: host.host.lower() != node.lower())
    return found[0].cpu.avg if found and found[0].cpu is not None else None


def judge_load(node: str, cpu: float, tests: float, earlier: Sequence[float]) -> HostLoadFound:
    """Return whether a machine was unusually busy; `earlier` is what others took of it in earlier runs."""
    others = max(0.0, cpu - tests)
    usual = statistics.median(earlier) if earlier else None
    busy = others - (usual or 0.0) >= UNUSUAL
    than = f"usually {usual:.0f}%" if usual is not None else "it is not known what is usual"
    says = (
        f"The processors of {node} were busy for {cpu:.0f}%: {tests:.0f}% by the tests and {others:.0f}% by something "
        f"else ({than})."
    )
    return HostLoadFound(node, busy, cpu, tests, others, usual, says)
