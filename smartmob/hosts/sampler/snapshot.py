"""Reads snapshots of the machine on which this program runs.

The service uses it for its own machine, and the reporting agent on other machines. Each source of fields is read by
its own probe. If one fails or hangs, its fields are stale, and the others are not affected.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

import msgspec
import psutil

from smartmob.hosts.fields import (
    DISKS,
    FIELDS,
    LOAD,
    MEMORY,
    NETWORKS,
    PROCESSORS,
    STORAGE,
    SWAP,
    TEMPERATURES,
    Container,
    Memory,
    Snapshot,
    StaleField,
    Storage,
)
from smartmob.hosts.sampler import cgroups, devices, sensors
from smartmob.hosts.sampler.devices import Choice, DeviceTraffic
from smartmob.hosts.sampler.machine_files import Roots
from smartmob.hosts.sampler.probe import Probe, Unreadable
from smartmob.hosts.sampler.processors import ProcessorLoads
from smartmob.hosts.sampler.reading_threads import ReadingThreads

_PATIENCE_SECONDS = 2.0
"""Seconds that a snapshot waits for a source that was fast before."""
_FORGET_SECONDS = 3600.0
"""Seconds after which an unreadable temperature is no longer mentioned."""
ROOT_FOLDER = "/"
_FILE_SYSTEMS = "file systems"
"""The key of the results that has the file systems that could be read."""


class SnapshotReader:
    """Reads snapshots; rates and processor loads are averages since the last one."""

    def __init__(self, chosen: Choice = Choice(), roots: Roots = Roots()) -> None:  # noqa: B008 - both are immutable
        if roots.procfs != Roots().procfs:
            psutil.PROCFS_PATH = str(roots.procfs)
        self._roots = roots
        self._processors = ProcessorLoads(roots)
        self._memory_limit: cgroups.MemoryLimit | None = None
        disks = DeviceTraffic(devices.disk_counters, devices.default_disks, chosen.disks, roots)
        networks = DeviceTraffic(devices.network_counters, devices.default_interfaces, chosen.interfaces, roots)
        sources: dict[str, Callable[[], Any]] = {
            PROCESSORS: self._processors.read,
            LOAD: psutil.getloadavg,
            MEMORY: self._memory,
            SWAP: _swap,
            DISKS: disks.rates,
            NETWORKS: networks.rates,
            TEMPERATURES: lambda: sensors.temperatures(roots),
            **{field.name: field.measure for field in FIELDS if field.measure is not None},
        }
        threads = ReadingThreads()
        self._probes = {name: Probe(read, threads, reads_ahead=name == TEMPERATURES) for name, read in sources.items()}
        self._folders = {
            folder: Probe(_FolderUsage(folder).read, threads, reads_ahead=True)
            for folder in chosen.folders or (ROOT_FOLDER,)
        }
        self._last: dict[str, tuple[float, float]] = {}
        """The last value of each field, and when it was read (time.monotonic)."""

    def read(self, at: float) -> Snapshot:
        """Return a snapshot of the time `at`, in seconds since 1970."""
        results, reasons = self._results()
        cpu, cores = results.get(PROCESSORS, (None, []))
        swap_used, swap_total = results.get(SWAP, (None, None))
        read, written = results.get(DISKS, (None, None))
        received, sent = results.get(NETWORKS, (None, None))
        warmth, cold = results.get(TEMPERATURES, ({}, {}))
        snapshot = Snapshot(
            at=at,
            cpu=cpu,
            cores=cores,
            load=results.get(LOAD),
            memory=results.get(MEMORY),
            swap_used=swap_used,
            swap_total=swap_total,
            storage=results.get(STORAGE),
            file_systems=results[_FILE_SYSTEMS],
            disk_read=read,
            disk_write=written,
            net_received=received,
            net_sent=sent,
            temperatures=warmth,
            measured={field.name: results[field.name] for field in FIELDS if field.name in results},
        )
        stale = {**self._stale_fields(snapshot, reasons), **self._stale_sensors(warmth, cold, reasons)}
        return msgspec.structs.replace(snapshot, stale=stale, container=self._container())

    def _results(self) -> tuple[dict[str, Any], dict[str, str]]:
        """Return the result of each source that could be read, and for each other source the reason."""
        probes: dict[str, Probe[Any]] = {
            **self._probes,
            **{f"{STORAGE} {name}": p for name, p in self._folders.items()},
        }
        for probe in probes.values():
            probe.begin()
        deadline = time.monotonic() + _PATIENCE_SECONDS
        results: dict[str, Any] = {}
        reasons: dict[str, str] = {}
        for name, probe in probes.items():
            try:
                results[name] = probe.take(deadline)
            except Unreadable as error:
                reasons[name] = str(error)
        by_device: dict[int, tuple[str, Storage]] = {}
        for folder in self._folders:
            name = f"{STORAGE} {folder}"
            if name in reasons:
                reason = reasons.pop(name)
                reasons[STORAGE] = reason if folder in reason else f"{folder}: {reason}"
            else:
                device, storage = results.pop(name)
                by_device[device] = folder, storage
        results[_FILE_SYSTEMS] = dict(by_device.values())
        if STORAGE not in reasons:
            results[STORAGE] = _total([storage for _, storage in by_device.values()])
        return results, reasons

    def _stale_fields(self, snapshot: Snapshot, reasons: dict[str, str]) -> dict[str, StaleField]:
        now = time.monotonic()
        stale = {}
        for field in FIELDS:
            value = field.value(snapshot)
            if value is not None:
                self._last[field.name] = (value, now)
                continue
            last, read_at = self._last.get(field.name, (None, now))
            age = None if last is None else round(now - read_at, 1)
            stale[field.name] = StaleField(
                last, age, reasons.get(field.source or field.name, "its value is impossible")
            )
        return stale

    def _stale_sensors(
        self, found: dict[str, float], failed: dict[str, str], reasons: dict[str, str]
    ) -> dict[str, StaleField]:
        now = time.monotonic()
        for name, value in found.items():
            self._last[f"{TEMPERATURES}.{name}"] = (value, now)
        stale = {f"{TEMPERATURES}.{name}": StaleField(None, None, reason) for name, reason in failed.items()}
        for key, (last, read_at) in list(self._last.items()):
            prefix, _, name = key.partition(".")
            if prefix != TEMPERATURES or not name or name in found:
                continue
            if now - read_at > _FORGET_SECONDS:
                del self._last[key]
                continue
            reason = failed.get(name) or reasons.get(TEMPERATURES) or "there is no such sensor any more"
            stale[key] = StaleField(last, round(now - read_at, 1), reason)
        return stale

    def _memory(self) -> Memory:
        memory = psutil.virtual_memory()
        self._memory_limit = limit = cgroups.memory_limit(self._roots, memory.total)
        if limit is not None and (used := cgroups.memory_of(limit)) is not None:
            return used
        self._memory_limit = None
        return Memory(*(getattr(memory, name, 0) for name in Memory.__struct_fields__))

    def _container(self) -> Container | None:
        limit, processors = self._memory_limit, self._processors.limit
        if limit is None and processors is None:
            return None
        return Container(
            None if limit is None else limit.limit, None if processors is None else round(processors.cpus, 2)
        )


def _swap() -> tuple[int, int]:
    swap = psutil.swap_memory()
    return swap.used, swap.total


class _FolderUsage:
    """The file system of a folder."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._was_mounted = False

    def read(self) -> tuple[int, Storage]:
        """Return the device number of the file system, and its use. Raises OSError and Unreadable."""
        device = os.stat(self._folder).st_dev
        is_mounted = os.path.ismount(self._folder)
        if self._was_mounted and not is_mounted:
            # The folder now shows the underlying file system.
            raise Unreadable(f"{self._folder} is not mounted any more")
        self._was_mounted = is_mounted
        usage = psutil.disk_usage(self._folder)
        return device, Storage(usage.total, usage.percent, usage.used, usage.free)


def _total(parts: list[Storage]) -> Storage:
    """Return the use of several file systems together."""
    if len(parts) == 1:
        return parts[0]
    used, free = sum(part.used for part in parts), sum(part.free for part in parts)
    # As with `df`: without the blocks that are reserved for the administrator.
    percent = round(100 * used / (used + free), 1) if used + free else 0.0
    return Storage(sum(part.total for part in parts), percent, used, free)
