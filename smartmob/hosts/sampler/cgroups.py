"""The limits and the use of the container in which this program runs, from cgroups of version 1 and 2.

Outside a container no limits are returned: a limit of a systemd unit is not a limit of the machine. Inside, the values
of memory are those that `docker stats` shows: the inactive page cache does not count as used.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import msgspec

from smartmob.hosts.fields import Memory
from smartmob.hosts.sampler.machine_files import Roots, number_of, text_of

_CONTAINER_FILES = (".dockerenv", "run/.containerenv", "run/systemd/container", ".singularity.d")
"""Files that Docker, Podman, systemd-nspawn and Apptainer leave in the root folder of a container."""
_MICROSECONDS = 1_000_000
_NANOSECONDS = 1_000_000_000


class MemoryLimit(msgspec.Struct, frozen=True):
    """The memory limit of a container: bytes, and the cgroup folder that has it."""

    limit: int
    folder: Path
    version: int


class ProcessorLimit(msgspec.Struct, frozen=True):
    """The processors of a container: how many it may use, their numbers if they are fixed, and the file of its use."""

    cpus: float
    numbers: tuple[int, ...] | None
    usage: Path


def memory_limit(roots: Roots, total: int) -> MemoryLimit | None:
    """Return the limit of the container if it is below the memory of the machine, `total` bytes."""
    found = [
        MemoryLimit(limit, folder, version)
        for version, name in ((2, "memory.max"), (1, "memory.limit_in_bytes"))
        for folder in _folders(roots, version, "memory", name)
        if (limit := number_of(folder / name)) is not None and 0 < limit < total
    ]
    return min(found, key=lambda each: each.limit, default=None)


def processor_limit(roots: Roots, total: int) -> ProcessorLimit | None:
    """Return the limit of the container if it may use fewer than the `total` processors of the machine."""
    numbers = _cpuset(roots)
    if numbers is not None and not 0 < len(numbers) < total:
        numbers = None
    cpus = min([*_quotas(roots), float(total if numbers is None else len(numbers))])
    if not 0 < cpus < total:
        return None
    for version, name in ((2, "cpu.stat"), (1, "cpuacct.usage")):
        for folder in _folders(roots, version, "cpuacct", name):
            return ProcessorLimit(cpus, numbers, folder / name)
    return None


def processor_seconds(limit: ProcessorLimit) -> float | None:
    """Return the processor time that the container has used, in seconds, or None when it cannot be read."""
    if limit.usage.name == "cpu.stat":
        used = _table(limit.usage).get("usage_usec")
        return None if used is None else used / _MICROSECONDS
    used = number_of(limit.usage)
    return None if used is None else used / _NANOSECONDS


def memory_of(limit: MemoryLimit) -> Memory | None:
    """Return the memory of the container, or None when it cannot be read."""
    name, old = ("memory.current", "") if limit.version == 2 else ("memory.usage_in_bytes", "total_")
    current = number_of(limit.folder / name)
    if current is None:
        return None
    table = _table(limit.folder / "memory.stat")
    inactive_file = table.get(f"{old}inactive_file", 0)
    used = current - inactive_file if inactive_file < current else current
    return Memory(
        total=limit.limit,
        available=max(0, limit.limit - used),
        percent=round(100 * used / limit.limit, 1),
        used=used,
        free=max(0, limit.limit - current),
        active=table.get(f"{old}active_anon", 0) + table.get(f"{old}active_file", 0),
        inactive=table.get(f"{old}inactive_anon", 0) + inactive_file,
        buffers=0,
        cached=table.get("file" if limit.version == 2 else "total_cache", 0),
        shared=table.get("shmem" if limit.version == 2 else "total_shmem", 0),
        slab=table.get("slab", 0),
    )


def _quotas(roots: Roots) -> Iterator[float]:
    for folder in _folders(roots, 2, "cpu", "cpu.max"):
        quota, _, period = (text_of(folder / "cpu.max") or "").partition(" ")
        if quota.isdigit() and period.isdigit() and int(period):
            yield int(quota) / int(period)
    for folder in _folders(roots, 1, "cpu", "cpu.cfs_quota_us"):
        quota_us, period_us = number_of(folder / "cpu.cfs_quota_us"), number_of(folder / "cpu.cfs_period_us")
        if quota_us is not None and quota_us > 0 and period_us:
            yield quota_us / period_us


def _cpuset(roots: Roots) -> tuple[int, ...] | None:
    for version, name in ((2, "cpuset.cpus.effective"), (1, "cpuset.effective_cpus"), (1, "cpuset.cpus")):
        for folder in _folders(roots, version, "cpuset", name):
            if numbers := _ranges(text_of(folder / name) or ""):
                return numbers
    return None


def _ranges(text: str) -> tuple[int, ...]:
    """Return the numbers of a list such as `0-2,5` (cpuset(7)); or no numbers if it is not such a list."""
    numbers: list[int] = []
    for part in text.split(","):
        first, _, last = part.partition("-")
        if not first.isdigit() or (last and not last.isdigit()):
            return ()
        numbers.extend(range(int(first), int(last or first) + 1))
    return tuple(numbers)


def _folders(roots: Roots, version: int, controller: str, name: str) -> Iterator[Path]:
    """Yield the folders with the file `name` that apply to this container, the innermost first.

    In a cgroup namespace the mount shows the container's own cgroup at its top. The root cgroup of a machine has no
    limits of version 2, and unlimited ones of version 1. Without a namespace the path in /proc/self/cgroup leads to the
    container's cgroup, but also to that of a systemd unit: it is followed only where a mark of a container is found.
    """
    mount = roots.sysfs / "fs" / "cgroup"
    subfolders = ("", "unified") if version == 2 else (controller, "cpu,cpuacct", "cpuacct,cpu")
    tops = [mount / subfolder for subfolder in subfolders]
    in_container = any((roots.root / name).exists() for name in _CONTAINER_FILES)
    path = _own_path(roots, version, controller) if in_container else ""
    for top in tops:
        folder = top / path.strip("/")
        while True:
            if (folder / name).is_file():
                yield folder
            if folder == top:
                break
            folder = folder.parent


def _own_path(roots: Roots, version: int, controller: str) -> str:
    """Return the path of this program's cgroup (cgroups(7)); a path that leads out of the mount is the top."""
    for line in (text_of(roots.procfs / "self" / "cgroup") or "").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if (number == "0" and version == 2) or (version == 1 and controller in controllers.split(",")):
            return "" if ".." in path else path
    return ""


def _table(path: Path) -> dict[str, int]:
    """Return the numbers of a file with lines of a name and a number."""
    found = {}
    for line in (text_of(path) or "").splitlines():
        name, _, value = line.partition(" ")
        if value.isdigit():
            found[name] = int(value)
    return found
