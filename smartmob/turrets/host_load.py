"""The load of machines while a run fires: what this room asks of whoever watches them, and what it makes of that."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from smartmob.kernel.runtime.host_names import is_same_host
from smartmob.turrets.model import MachineLoad, Member


class CpuLoad(Protocol):
    """How busy the processors of a machine were, in percent."""

    @property
    def avg(self) -> float:
        """Return the average."""

    @property
    def max(self) -> float:
        """Return the most."""


class HostLoad(Protocol):
    """A machine that has reported; `cpu` is None where it did not tell that."""

    @property
    def host(self) -> str:
        """Return its name."""

    @property
    def cpu(self) -> CpuLoad | None:
        """Return how busy it was."""


class HostLoadSource(Protocol):
    """Knows machines that report their load."""

    async def busy(self, start: datetime, end: datetime) -> Sequence[HostLoad]:
        """Return the load of each machine from `start` until before `end`. Raises Unavailable."""


def loads_in_run(hosts: Iterable[HostLoad], members: Iterable[Member]) -> list[MachineLoad]:
    """Return the load of the machines of a run, and on which of them its turrets said to be."""
    fired = [member.report.host for member in members if member.report is not None]
    return [
        MachineLoad(
            *(load.host, load.cpu.avg, load.cpu.max),
            fired=any(is_same_host(load.host, name) for name in fired),
        )
        for load in hosts
        if load.cpu is not None
    ]
