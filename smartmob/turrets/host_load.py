"""The load of hosts while a run fires: the source that the composition root provides, and how it is used in a run."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from smartmob.kernel.runtime.host_names import is_same_host
from smartmob.turrets.model import MachineLoad, Member


class CpuLoad(Protocol):
    """The use of all processors of a host, in percent."""

    @property
    def avg(self) -> float:
        """Return the average."""

    @property
    def max(self) -> float:
        """Return the maximum."""


class HostLoad(Protocol):
    """The load of a host; `cpu` is None if the host did not report it."""

    @property
    def host(self) -> str:
        """Return the name of the host."""

    @property
    def cpu(self) -> CpuLoad | None:
        """Return the use of its processors."""


class HostLoadSource(Protocol):
    """A source of host load."""

    async def busy(self, start: datetime, end: datetime) -> Sequence[HostLoad]:
        """Return the load of each host from `start` until before `end`. Raises Unavailable."""


def loads_in_run(hosts: Iterable[HostLoad], members: Iterable[Member]) -> list[MachineLoad]:
    """Return the load of the hosts in a run, and which hosts ran turrets, by the names that turrets report."""
    turret_hosts = [member.report.host for member in members if member.report is not None]
    return [
        MachineLoad(
            host=load.host,
            cpu_avg=load.cpu.avg,
            cpu_max=load.cpu.max,
            fired=any(is_same_host(load.host, name) for name in turret_hosts),
        )
        for load in hosts
        if load.cpu is not None
    ]
