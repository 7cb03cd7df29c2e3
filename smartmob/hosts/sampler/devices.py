"""The disks and network interfaces whose traffic is counted, and the rates of that traffic.

By default each byte counts once: disks are whole physical disks, without partitions, loop devices and devices that are
stacked on other disks (dm, md, bcache). Interfaces are physical ones, with a bond in place of its slaves, and without
loopback, bridges, veth, VLANs and tunnels. In a container, where no interface is physical, the remaining interfaces
count.
"""

from __future__ import annotations

import fnmatch
import os
import re
import stat
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import psutil

from smartmob.hosts.sampler.machine_files import Roots, link_name, names_in, number_of, text_of
from smartmob.hosts.sampler.probe import Probe, Unreadable, reason_of
from smartmob.hosts.sampler.reading_threads import ReadingThreads

Counters = Mapping[str, tuple[int, int]]
"""Bytes by device: read and written, or received and sent, since the device exists."""

_SHORTEST_SECONDS = 0.001
_PATIENCE_SECONDS = 2.0
"""Seconds that the check of a folder may take; a network mount can hang."""
_LOOPBACK_FLAG = 0x8  # IFF_LOOPBACK of netdevice(7)
_NO_DISK = re.compile(r"(loop|ram|zram|dm-|md|sr|fd|nbd|zd|bcache|drbd)\d+\w*")
"""Disks that do not count by default if /sys does not show what they are."""
_NO_INTERFACE = re.compile(
    r"(lo\d*|loopback.*|(br-|docker|veth|virbr|vnet|cni|flannel|cali|tun|tap|utun|wg|dummy|ifb|bridge|awdl|llw|gif|stf)"
    r"[\w-]*)",
    re.IGNORECASE,
)
"""Interfaces that do not count by default if /sys does not show what they are."""
_VIRTUAL_TYPES = {"bridge", "vlan", "vxlan", "gre", "gretap", "wireguard", "macvlan", "ipvlan", "macvtap", "vti"}
"""Types of interfaces (DEVTYPE in their uevent) whose traffic also passes another interface."""


class Choice(msgspec.Struct, frozen=True):
    """A choice of what to measure: names or patterns of disks and of interfaces, and the folders of file systems.

    An empty tuple means the default.
    """

    disks: tuple[str, ...] = ()
    interfaces: tuple[str, ...] = ()
    folders: tuple[str, ...] = ()


def choice(disks: Iterable[str], interfaces: Iterable[str]) -> Choice:
    """Return a choice; each of `disks` is a disk (`nvme0n1`, `/dev/sda`) or a folder (`/data`), which has a slash."""
    devices, folders = [], []
    for given in disks:
        if given.startswith("/dev/") and _is_block_device(given):
            devices.append(os.path.realpath(given).removeprefix("/dev/"))
        elif os.sep in given or given == os.curdir:
            folders.append(given)
        else:
            devices.append(given)
    return Choice(tuple(devices), tuple(interfaces), tuple(folders))


def wrong_choice(chosen: Choice, roots: Roots) -> tuple[str, str, str] | None:
    """Return option (`disk` or `net`), name and a line with the names that exist for the first wrong name, or None."""
    groups: tuple[tuple[str, str, Sequence[str], Callable[[], Counters], Callable[..., list[str]]], ...] = (
        ("disk", "disk", chosen.disks, disk_counters, default_disks),
        ("net", "network interface", chosen.interfaces, network_counters, default_interfaces),
    )
    for option, kind, names, read, default in groups:
        if not names:
            continue
        try:
            there = sorted(read())
        except Exception as error:
            return option, names[0], f"the names cannot be checked: {reason_of(error)}"
        for name in names:
            if not fnmatch.filter(there, name):
                usual = default(there, roots)
                others = ", ".join(each for each in there if each not in usual)
                more = f" (not counted by default: {others})" if others else ""
                folder = ", and any folder with a slash" if kind == "disk" else ""
                said = f"there is no such {kind}; there are {', '.join(usual) or 'none'}{more}{folder}"
                return option, name, said
    for name in chosen.folders:
        probe = Probe(partial(os.stat, name), ReadingThreads())
        probe.begin()
        try:
            probe.take(time.monotonic() + _PATIENCE_SECONDS)
        except Unreadable as error:
            if isinstance(error.__cause__, FileNotFoundError | NotADirectoryError):
                return "disk", name, "there is no such folder; name one on the file system to be measured, or a disk"
            # A folder that hangs or cannot be entered now may be readable later; until then its values are stale.
    return None


class DeviceTraffic:
    """The rates of the chosen devices together. `read` returns the counters of all devices.

    A new device begins at its first counters; counters that went backwards were restarted at zero.
    """

    def __init__(
        self,
        read: Callable[[], Counters],
        default: Callable[[list[str], Roots], list[str]],
        names: Sequence[str],
        roots: Roots,
    ) -> None:
        self._read = read
        self._default = default
        self._names = names
        self._roots = roots
        self._there: list[str] | None = None
        self._chosen: list[str] = []
        self._before: Counters = {}
        self._read_at = time.monotonic()
        try:
            self._before = read()
        except Exception:  # the first reading reports the reason
            self._before = {}

    def rates(self) -> tuple[float, float]:
        """Return the bytes per second in both directions since the last call. Raises Unreadable."""
        counters = self._read()
        now = time.monotonic()
        before, elapsed = self._before, max(_SHORTEST_SECONDS, now - self._read_at)
        self._before, self._read_at = counters, now
        sums = [0, 0]
        for name in self._select(counters):
            if name in before:
                for direction in (0, 1):
                    difference = counters[name][direction] - before[name][direction]
                    sums[direction] += difference if difference >= 0 else counters[name][direction]
        return round(sums[0] / elapsed, 1), round(sums[1] / elapsed, 1)

    def _select(self, counters: Counters) -> list[str]:
        there = sorted(counters)
        if there != self._there:
            self._there = there
            self._chosen = _matching(there, self._names) if self._names else self._default(there, self._roots)
        missing = [name for name in self._names if not fnmatch.filter(there, name)]
        if missing:
            raise Unreadable(f"there is no {missing[0]}")
        return self._chosen


def _matching(there: Sequence[str], patterns: Sequence[str]) -> list[str]:
    return [name for name in there if any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)]


def disk_counters() -> Counters:
    """Return the counters of all disks and partitions."""
    found: Any = psutil.disk_io_counters(perdisk=True, nowrap=False)
    return {name: (each.read_bytes, each.write_bytes) for name, each in (found or {}).items()}


def network_counters() -> Counters:
    """Return the counters of all network interfaces."""
    found: Any = psutil.net_io_counters(pernic=True, nowrap=False)
    return {name: (each.bytes_recv, each.bytes_sent) for name, each in (found or {}).items()}


def default_disks(there: list[str], roots: Roots) -> list[str]:
    """Return the disks that count by default."""
    folder = roots.sysfs / "block"
    whole = [name for name in there if (folder / name.replace("/", "!")).is_dir()]
    if whole:
        return [name for name in whole if _is_physical_disk(folder / name.replace("/", "!"))]
    candidates = [name for name in there if not _NO_DISK.fullmatch(name)]
    return [name for name in candidates if not any(_is_partition(name, disk) for disk in candidates)]


def _is_physical_disk(folder: Path) -> bool:
    if names_in(folder / "slaves") or _NO_DISK.fullmatch(folder.name) or number_of(folder / "hidden") == 1:
        return False
    try:
        return "/virtual/block/" not in str(folder.resolve())
    except OSError:
        return True


def _is_partition(name: str, disk: str) -> bool:
    """Return whether a name is that of a partition of a disk: `sda1` of `sda`, `nvme0n1p2` of `nvme0n1`."""
    rest = name.removeprefix(disk)
    pattern = r"p\d+" if disk[-1].isdigit() else r"\d+"
    return rest != name and bool(re.fullmatch(pattern, rest))


def default_interfaces(there: list[str], roots: Roots) -> list[str]:
    """Return the network interfaces that count by default."""
    folder = roots.sysfs / "class" / "net"
    known = [name for name in there if (folder / name).is_dir()]
    if not known:
        return [name for name in there if not _NO_INTERFACE.fullmatch(name)]
    masters = {name: _counted_master(folder, name) for name in known}
    chosen = {
        masters[name] or name
        for name in known
        if (folder / name / "device").exists() and not _is_host_end(folder / name)
    }
    if not chosen:
        # A container: its interface is one end of a veth pair.
        chosen = {name for name in known if not _is_virtual(folder / name) and not (folder / name / "master").exists()}
    return [name for name in there if name in chosen]


def _counted_master(folder: Path, name: str) -> str | None:
    """Return the bond or team to which an interface belongs; None for ports of bridges and of routing domains (VRF)."""
    master = link_name(folder / name / "master")
    if master is None or not (folder / master).is_dir() or master == "ovs-system":
        return None
    if (folder / master / "bridge").is_dir() or _devtype(folder / master) in ("bridge", "vrf"):
        return None
    return master


def _is_host_end(folder: Path) -> bool:
    """Return whether an interface is the host's end of a connection to a virtual machine (Xen)."""
    return link_name(folder / "device" / "subsystem") == "xen-backend"


def _is_virtual(folder: Path) -> bool:
    flags = text_of(folder / "flags") or "0"
    try:
        is_loopback = bool(int(flags, 16) & _LOOPBACK_FLAG)
    except ValueError:
        is_loopback = False
    return (
        is_loopback
        or folder.name == "lo"
        or (folder / "bridge").is_dir()
        or (folder / "tun_flags").exists()
        or _devtype(folder) in _VIRTUAL_TYPES
        or (bool(_NO_INTERFACE.fullmatch(folder.name)) and not folder.name.startswith("veth"))
    )


def _devtype(folder: Path) -> str:
    for line in (text_of(folder / "uevent") or "").splitlines():
        name, _, value = line.partition("=")
        if name == "DEVTYPE":
            return value
    return ""


def _is_block_device(path: str) -> bool:
    try:
        return stat.S_ISBLK(os.stat(path).st_mode)
    except OSError:
        return not os.path.isdir(path)
