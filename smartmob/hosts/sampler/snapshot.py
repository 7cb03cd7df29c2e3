"""Reads snapshots of the machine that this program runs on, with psutil.

The service uses it for its own machine, and the reporting agent on other machines.
"""

from __future__ import annotations

from typing import Any

import psutil

from smartmob.hosts.fields import Memory, Snapshot, Storage, measured


class SnapshotReader:
    """Reads snapshots; rates and processor loads are averages since the last one. `disk` is a path on the disk."""

    def __init__(self, disk: str = "/") -> None:
        self._disk = disk
        self._times: list[Any] = psutil.cpu_times(percpu=True)
        self._counters: tuple[float, float, float, float] = _counters()
        self._loads: list[float] = [0.0] * len(self._times)

    def read(self, at: float, elapsed: float) -> Snapshot:
        """Return a snapshot of the time `at`, `elapsed` seconds (monotonic clock) after the last one."""
        cores = self._cores()
        counters = _counters()
        rates = [max(0.0, now - before) / elapsed for now, before in zip(counters, self._counters, strict=True)]
        self._counters = counters
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        disk = psutil.disk_usage(self._disk)
        return Snapshot(
            at=at,
            cpu=round(sum(cores) / len(cores), 1),
            cores=cores,
            load=psutil.getloadavg(),
            memory=Memory(*(getattr(memory, name, 0) for name in Memory.__struct_fields__)),
            swap_used=swap.used,
            swap_total=swap.total,
            storage=Storage(disk.total, disk.percent, disk.used, disk.free),
            disk_read=round(rates[0], 1),
            disk_write=round(rates[1], 1),
            net_received=round(rates[2], 1),
            net_sent=round(rates[3], 1),
            temperatures=_temperatures(),
            measured=measured(),
        )

    def _cores(self) -> list[float]:
        times = psutil.cpu_times(percpu=True)
        if len(times) != len(self._times):
            # A processor was added or removed.
            self._times, self._loads = times, [0.0] * len(times)
            return self._loads
        loads = []
        for now, before, known in zip(times, self._times, self._loads, strict=True):
            total, idle = _total(now) - _total(before), _idle(now) - _idle(before)
            loads.append(round(min(100.0, max(0.0, 100 * (total - idle) / total)), 1) if total > 0 else known)
        self._times, self._loads = times, loads
        return loads


def _total(times: Any) -> float:
    # On Linux user time includes guest time (proc_stat(5)).
    return float(sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0))


def _idle(times: Any) -> float:
    return float(times.idle + getattr(times, "iowait", 0.0))


def _counters() -> tuple[float, float, float, float]:
    # In a container psutil may find no disks.
    disk: Any = psutil.disk_io_counters()
    net: Any = psutil.net_io_counters()
    read, written = (disk.read_bytes, disk.write_bytes) if disk else (0, 0)
    received, sent = (net.bytes_recv, net.bytes_sent) if net else (0, 0)
    return read, written, received, sent


def _temperatures() -> dict[str, float]:
    read = getattr(psutil, "sensors_temperatures", None)
    if read is None:
        return {}
    found: dict[str, float] = {}
    for chip, sensors in read().items():
        for number, sensor in enumerate(sensors):
            found[f"{chip} {sensor.label or number}"] = sensor.current
    return found
