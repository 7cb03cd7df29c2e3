"""Snapshots of the machine on which the tests run, and of machines that are trees of files."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from smartmob.hosts.fields import NAMES, Container
from smartmob.hosts.model import read_sample, sample_fields, sample_row
from smartmob.hosts.sampler.devices import Choice
from smartmob.hosts.sampler.snapshot import SnapshotReader
from tests.hosts.sampler.trees import disk, interface, machine, write

PROC = {
    "proc/stat": "cpu 10 0 0 10 0 0 0 0 0 0\ncpu0 10 0 0 10 0 0 0 0 0 0",
    "proc/meminfo": "MemTotal: 1048576 kB\nMemFree: 524288 kB\nMemAvailable: 524288 kB\nBuffers: 0 kB\nCached: 0 kB\n"
    "Active: 1 kB\nInactive: 1 kB\nShmem: 0 kB\nSlab: 0 kB\nSReclaimable: 0 kB\nSwapTotal: 2048 kB\nSwapFree: 1024 kB",
    "proc/vmstat": "pswpin 1\npswpout 1",
    "proc/diskstats": "259 0 nvme0n1 1 0 8 0 1 0 8 0 0 0 0\n259 1 nvme0n1p1 1 0 8 0 1 0 8 0 0 0 0\n"
    "253 0 dm-0 1 0 8 0 1 0 8 0 0 0 0\n7 0 loop0 1 0 8 0 1 0 8 0 0 0 0",
    "proc/net/dev": "Inter-| Receive\n face |bytes\n    lo: 1000000 1 0 0 0 0 0 0 1000000 1 0 0 0 0 0 0\n"
    "  eth0: 1000 1 0 0 0 0 0 0 500 1 0 0 0 0 0 0",
    "sys/class/hwmon/hwmon0/name": "acpitz",
    "sys/class/hwmon/hwmon0/temp1_input": "40000",
    **disk("nvme0n1"),
    **disk("dm-0", virtual=True, slaves=("nvme0n1p1",)),
    **interface("lo", flags="0x9"),
    **interface("eth0", device=True),
}
"""A machine with one processor, NVMe below LUKS, and loopback."""


@pytest.fixture(name="tree")
def _tree(tmp_path: Path) -> Iterator[Path]:
    """Return the root folder of a machine that psutil reads."""
    before = psutil.PROCFS_PATH
    machine(tmp_path, PROC)
    yield tmp_path
    psutil.PROCFS_PATH = before


def _read(tree: Path, **choice: tuple[str, ...]) -> SnapshotReader:
    return SnapshotReader(Choice(**choice), machine(tree, {}))


def test_a_snapshot_has_the_values_of_psutil() -> None:
    """In the same units; nothing of this machine is stale."""
    found = SnapshotReader().read(123.5)
    assert found.at == 123.5
    assert found.stale == {}
    assert found.cpu is not None
    assert all(0 <= load <= 100 for load in [found.cpu, *found.cores])
    assert found.memory is not None
    assert found.storage is not None
    assert found.memory.total <= psutil.virtual_memory().total
    assert found.storage.total == psutil.disk_usage("/").total
    assert 0 < found.storage.percent < 100
    assert found.swap_total == psutil.swap_memory().total
    assert all(rate is not None and rate >= 0 for rate in (found.disk_read, found.net_received, found.net_sent))


def test_work_between_two_snapshots_is_visible() -> None:
    """A processor was busy in the second of two snapshots with work in between."""
    reader = SnapshotReader()
    before = psutil.Process().cpu_times().user
    while psutil.Process().cpu_times().user - before < 0.15:
        sum(range(10_000))
    assert max(reader.read(0.0).cores) > 0


def test_loopback_and_stacked_disks_do_not_count(tree: Path) -> None:
    """Traffic of loopback, of a partition and of a disk that is stacked on another one is no traffic of the machine."""
    reader = _read(tree)
    write(
        tree,
        {
            "proc/diskstats": PROC["proc/diskstats"]
            .replace("p1 1 0 8", "p1 9 0 9000")
            .replace("-0 1 0 8", "-0 9 0 9000"),
            "proc/net/dev": PROC["proc/net/dev"].replace("1000000", "9000000"),
        },
    )
    found = reader.read(0.0)
    assert (found.disk_read, found.disk_write, found.net_received, found.net_sent) == (0.0, 0.0, 0.0, 0.0)
    write(
        tree,
        {
            "proc/diskstats": PROC["proc/diskstats"].replace("nvme0n1 1 0 8", "nvme0n1 9 0 9000"),
            "proc/net/dev": PROC["proc/net/dev"].replace(" 1000 ", " 9000 "),
        },
    )
    found = reader.read(0.0)
    assert (found.disk_read or 0) > 0
    assert (found.net_received or 0) > 0
    assert (found.disk_write, found.net_sent) == (0.0, 0.0)


def test_chosen_devices_count_also_when_they_would_not(tree: Path) -> None:
    """A user may want the traffic of loopback and of a stacked disk."""
    reader = _read(tree, disks=("dm-0",), interfaces=("lo",))
    write(
        tree,
        {
            "proc/diskstats": PROC["proc/diskstats"].replace("-0 1 0 8", "-0 9 0 9000"),
            "proc/net/dev": PROC["proc/net/dev"].replace("1000000", "9000000"),
        },
    )
    found = reader.read(0.0)
    assert (found.disk_read or 0) > 0
    assert (found.net_sent or 0) > 0


@pytest.mark.parametrize(
    ("file", "fields"),
    [
        ("proc/stat", {"cpu"}),
        ("proc/meminfo", {"mem", "swap"}),
        ("proc/diskstats", {"disk_read", "disk_write"}),
        ("proc/net/dev", {"net_received", "net_sent"}),
        ("sys/class/hwmon/hwmon0/temp1_input", {"temperatures.acpitz 0"}),
    ],
)
def test_a_field_that_cannot_be_read_leaves_the_others_as_they_are(tree: Path, file: str, fields: set[str]) -> None:
    """A file that becomes unreadable makes its own figures stale, with their last value, age and reason."""
    reader = _read(tree)
    before = reader.read(0.0)
    assert before.stale == {}
    (tree / file).rename(tree / "away")
    (tree / file).mkdir()
    found = reader.read(0.0)
    assert set(found.stale) == fields
    assert all(field.value is not None and field.age is not None for field in found.stale.values())
    assert all(field.reason for field in found.stale.values())
    assert found.storage is not None
    assert found.load is not None
    (tree / file).rmdir()
    (tree / "away").rename(tree / file)
    reader.read(0.0)
    assert reader.read(0.0).stale == {}


def test_an_impossible_value_does_not_take_the_sample_along(tree: Path) -> None:
    """Free swap space above the total, as some containers show it, is no negative use that a service would refuse."""
    write(tree, {"proc/meminfo": PROC["proc/meminfo"].replace("SwapFree: 1024", "SwapFree: 18446744073709551000")})
    found = _read(tree).read(0.0)
    assert found.stale["swap"].reason == "its value is impossible"
    data = read_sample({**sample_fields(found), "time": 1.0})
    assert data.swap is None
    assert sample_row("a", data, 1).values[1] is not None


@pytest.mark.parametrize(
    ("file", "text", "fields"),
    [
        ("proc/diskstats", "8 0 sda 0 0 0 0 2 0 42 7 0 0 0 0 0 0", {"disk_read", "disk_write"}),
        ("proc/meminfo", "", {"mem", "swap"}),
        ("proc/stat", "", {"cpu"}),
        ("proc/net/dev", "Inter-| Receive\n face |bytes\n eth0: x", {"net_received", "net_sent"}),
    ],
    ids=["disks of lxcfs 5", "empty memory", "empty processors", "networks without numbers"],
)
def test_a_file_in_an_unknown_form_makes_only_its_own_fields_stale(
    tree: Path, file: str, text: str, fields: set[str]
) -> None:
    """Whatever psutil raises for it, the other figures are read."""
    write(tree, {file: text})
    reader = _read(tree)
    reader.read(0.0)
    found = reader.read(0.0)
    assert set(found.stale) == fields
    assert found.storage is not None


def test_a_folder_that_is_removed_makes_the_storage_stale(tree: Path) -> None:
    """The other figures are read, and the storage again when the folder is back."""
    folder = tree / "data"
    folder.mkdir()
    reader = _read(tree, folders=(str(folder),))
    before = reader.read(0.0)
    assert before.storage is not None
    folder.rmdir()
    found = reader.read(0.0)
    assert (found.storage, set(found.stale)) == (None, {"storage"})
    assert found.stale["storage"].value == before.storage.used // 2**20
    assert str(folder) in found.stale["storage"].reason
    assert found.memory is not None
    folder.mkdir()
    assert reader.read(0.0).storage is not None


def test_folders_of_one_file_system_count_once(tree: Path) -> None:
    """The storage is the sum of the chosen file systems, each of which counts once."""
    (tree / "data").mkdir()
    one = _read(tree, folders=(str(tree),)).read(0.0).storage
    two = _read(tree, folders=(str(tree), str(tree / "data"))).read(0.0).storage
    assert one is not None
    assert two is not None
    assert one.total == two.total
    both = _read(tree, folders=(str(tree), "/proc")).read(0.0).storage
    assert both is not None
    assert both.total == one.total


def test_in_a_container_memory_is_that_of_the_container(tree: Path) -> None:
    """The limits are told; a figure that the cgroup does not have is that of the machine."""
    cgroup = "sys/fs/cgroup"
    reader = _read(tree)
    write(tree, {f"{cgroup}/memory.max": str(512 * 2**20), f"{cgroup}/memory.current": str(100 * 2**20)})
    found = reader.read(0.0)
    assert found.memory is not None
    assert (found.memory.total, found.memory.used) == (512 * 2**20, 100 * 2**20)
    assert found.container == Container(512 * 2**20, None)
    (tree / cgroup / "memory.current").unlink()
    found = reader.read(0.0)
    assert found.memory is not None
    assert (found.memory.total, found.container) == (2**30, None)


def test_nothing_can_be_read(tmp_path: Path) -> None:
    """A machine without any file has a snapshot of what needs none; the rest is stale and was never measured."""
    before = psutil.PROCFS_PATH
    try:
        found = SnapshotReader(Choice(folders=(str(tmp_path / "none"),)), machine(tmp_path, {})).read(0.0)
    finally:
        psutil.PROCFS_PATH = before
    # Without /proc/diskstats psutil reads the disks from the /sys of the machine of the tests.
    assert set(found.stale) | {"disk_read", "disk_write"} == set(NAMES) - {"load"}
    assert all(field.value is None and field.age is None for field in found.stale.values())


def test_a_file_system_that_hangs_leaves_the_others(tree: Path) -> None:
    """A folder whose name is read from a pipe without a writer never answers; it is stale from the start."""
    os.mkfifo(tree / "pipe")
    reader = _read(tree)
    probe = reader._probes["memory"]
    reader._probes["memory"] = type(probe)(lambda: (tree / "pipe").read_text(), probe._threads)
    found = reader.read(0.0)
    assert set(found.stale) == {"mem"}
    assert found.stale["mem"].reason.startswith("no answer for ")
    assert found.cpu is not None
    with (tree / "pipe").open("w"):
        pass
