"""The load of processors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from smartmob.hosts.sampler.probe import Unreadable
from smartmob.hosts.sampler.processors import ProcessorLoads
from tests.hosts.sampler.trees import machine, write


@pytest.fixture(name="procfs")
def _procfs(tmp_path: Path) -> Iterator[Path]:
    """Let psutil read the files of the test."""
    before = psutil.PROCFS_PATH
    psutil.PROCFS_PATH = str(tmp_path / "proc")
    yield tmp_path / "proc"
    psutil.PROCFS_PATH = before


def _stat(*cores: tuple[int, int, int]) -> dict[str, str]:
    """Return /proc/stat of processors with ticks of user time, idle time and waiting for disks."""
    lines = [f"cpu{number} {user} 0 0 {idle} {wait} 0 0 0 0 0" for number, (user, idle, wait) in enumerate(cores)]
    return {"proc/stat": "\n".join(["cpu 1 0 0 1 0 0 0 0 0 0", *lines])}


def test_a_load_is_the_share_of_busy_time(procfs: Path, tmp_path: Path) -> None:
    """Idle time and waiting for disks are not busy; times that go backwards do not make a load outside of 0 to 100."""
    roots = machine(tmp_path, _stat((0, 0, 0), (0, 0, 1000)))
    processors = ProcessorLoads(roots)
    write(tmp_path, _stat((100, 100, 0), (0, 300, 900)))
    assert processors.read() == (25.0, [50.0, 0.0])
    write(tmp_path, _stat((100, 100, 0), (0, 300, 900)))
    assert processors.read() == (25.0, [50.0, 0.0])


def test_other_processors_make_the_load_unknown_for_one_reading(procfs: Path, tmp_path: Path) -> None:
    """A processor that is added or removed leaves no time before it to compare with."""
    roots = machine(tmp_path, _stat((0, 0, 0)))
    processors = ProcessorLoads(roots)
    write(tmp_path, _stat((100, 0, 0), (100, 0, 0)))
    with pytest.raises(Unreadable, match="number of processors"):
        processors.read()
    write(tmp_path, _stat((200, 0, 0), (100, 100, 0)))
    assert processors.read() == (50.0, [100.0, 0.0])


def test_a_file_that_cannot_be_read_is_an_error_of_the_reading(procfs: Path, tmp_path: Path) -> None:
    """The construction succeeds, and loads are known from the second reading on that succeeds."""
    roots = machine(tmp_path, {})
    processors = ProcessorLoads(roots)
    with pytest.raises(OSError, match="No such file"):
        processors.read()
    write(tmp_path, _stat((0, 0, 0)))
    with pytest.raises(Unreadable, match="first reading"):
        processors.read()
    write(tmp_path, _stat((0, 100, 0)))
    assert processors.read() == (0.0, [0.0])


def test_in_a_container_the_load_is_that_of_what_it_may_use(procfs: Path, tmp_path: Path) -> None:
    """The processor time of the container is divided by its quota; the processors are those of its set."""
    cgroup = {
        "sys/fs/cgroup/cpu.max": "50000 100000",
        "sys/fs/cgroup/cpuset.cpus.effective": "1-2",
        "sys/fs/cgroup/cpu.stat": "usage_usec 0",
    }
    roots = machine(tmp_path, _stat((0, 0, 0), (0, 0, 0), (0, 0, 0), (0, 0, 0)) | cgroup)
    processors = ProcessorLoads(roots)
    write(tmp_path, _stat((100, 0, 0), (0, 100, 0), (50, 50, 0), (100, 0, 0)))
    write(tmp_path, {"sys/fs/cgroup/cpu.stat": "usage_usec 900000000000"})
    assert processors.read() == (100.0, [0.0, 50.0])
    assert processors.limit is not None
    assert (processors.limit.cpus, processors.limit.numbers) == (0.5, (1, 2))
    write(tmp_path, {"sys/fs/cgroup/cpu.stat": "usage_usec 900000000000"})
    assert processors.read()[0] == 0.0
