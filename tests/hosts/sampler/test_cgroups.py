"""The limits and the use of a container."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.hosts.sampler import cgroups
from tests.hosts.sampler.trees import machine

MB = 2**20
TOTAL = 64 * 1024 * MB
TOP = "sys/fs/cgroup"
V2 = {
    f"{TOP}/memory.max": str(512 * MB),
    f"{TOP}/memory.current": str(300 * MB),
    f"{TOP}/memory.stat": f"anon 1\nfile {200 * MB}\ninactive_file {100 * MB}\nactive_file {50 * MB}\nactive_anon {MB}",
    f"{TOP}/cpu.max": "150000 100000",
    f"{TOP}/cpu.stat": "usage_usec 2500000\nuser_usec 1",
    f"{TOP}/cpuset.cpus.effective": "0-7",
}
V1 = {
    f"{TOP}/memory/memory.limit_in_bytes": str(512 * MB),
    f"{TOP}/memory/memory.usage_in_bytes": str(300 * MB),
    f"{TOP}/memory/memory.stat": f"inactive_file 1\ntotal_inactive_file {100 * MB}\ntotal_cache {200 * MB}",
    f"{TOP}/cpu,cpuacct/cpu.cfs_quota_us": "150000",
    f"{TOP}/cpu,cpuacct/cpu.cfs_period_us": "100000",
    f"{TOP}/cpu,cpuacct/cpuacct.usage": "2500000000",
    f"{TOP}/cpuset/cpuset.cpus": "0-7",
    "proc/self/cgroup": "5:memory:/docker/3f2a\n4:cpu,cpuacct:/docker/3f2a\n0::/docker/3f2a",
    ".dockerenv": "",
}


@pytest.mark.parametrize("files", [V2, V1], ids=["version 2", "version 1"])
def test_a_container_has_its_own_memory_and_processors(tmp_path: Path, files: dict[str, str]) -> None:
    """Memory in use is without the inactive page cache, as `docker stats` shows it, and below the limit."""
    roots = machine(tmp_path, files)
    limit = cgroups.memory_limit(roots, TOTAL)
    assert limit is not None
    memory = cgroups.memory_of(limit)
    assert memory is not None
    assert (memory.total, memory.used, memory.available) == (512 * MB, 200 * MB, 312 * MB)
    assert (memory.free, memory.percent, memory.cached) == (212 * MB, 39.1, 200 * MB)
    processors = cgroups.processor_limit(roots, 8)
    assert processors is not None
    assert (processors.cpus, processors.numbers) == (1.5, None)
    assert cgroups.processor_seconds(processors) == 2.5


@pytest.mark.parametrize(
    "files",
    [
        pytest.param({}, id="no cgroups"),
        pytest.param({f"{TOP}/memory.stat": "anon 1", f"{TOP}/cpu.stat": "usage_usec 5"}, id="the root of version 2"),
        pytest.param(
            {
                f"{TOP}/memory/memory.limit_in_bytes": "9223372036854771712",
                f"{TOP}/cpu/cpu.cfs_quota_us": "-1",
                f"{TOP}/cpu/cpu.cfs_period_us": "100000",
                f"{TOP}/cpuset/cpuset.cpus": "0-7",
            },
            id="the root of version 1",
        ),
        pytest.param(
            {
                "proc/self/cgroup": "0::/system.slice/smartmob.service",
                f"{TOP}/system.slice/smartmob.service/memory.max": str(100 * MB),
                f"{TOP}/system.slice/smartmob.service/cpu.max": "50000 100000",
            },
            id="a systemd unit",
        ),
        pytest.param(
            {f"{TOP}/memory.max": "max", f"{TOP}/cpu.max": "max 100000", ".dockerenv": ""}, id="an unlimited container"
        ),
        pytest.param({f"{TOP}/memory.max": "x", f"{TOP}/cpu.max": "1 0", f"{TOP}/cpuset.cpus": "a-b"}, id="nonsense"),
        pytest.param({f"{TOP}/memory.max": str(2 * TOTAL)}, id="a limit above the memory of the machine"),
    ],
)
def test_without_a_limit_the_figures_are_those_of_the_machine(tmp_path: Path, files: dict[str, str]) -> None:
    """A machine, a unit of systemd on it and a container without limits have no limits of a container."""
    roots = machine(tmp_path, files)
    assert cgroups.memory_limit(roots, TOTAL) is None
    assert cgroups.processor_limit(roots, 8) is None


def test_without_a_namespace_the_path_of_the_cgroup_is_followed(tmp_path: Path) -> None:
    """In a marked container the smallest limit on the way from its own cgroup to the top counts."""
    inner = f"{TOP}/kubepods/pod1/a"
    roots = machine(
        tmp_path,
        {
            "proc/self/cgroup": "0::/kubepods/pod1/a",
            "run/.containerenv": "",
            f"{TOP}/kubepods/pod1/memory.max": str(256 * MB),
            f"{inner}/memory.max": "max",
            f"{inner}/memory.current": "5",
            f"{inner}/cpu.max": "50000 100000",
            f"{inner}/cpu.stat": "usage_usec 1000000",
        },
    )
    limit = cgroups.memory_limit(roots, TOTAL)
    assert limit is not None
    assert (limit.limit, limit.folder.name) == (256 * MB, "pod1")
    processors = cgroups.processor_limit(roots, 8)
    assert processors is not None
    assert (processors.cpus, cgroups.processor_seconds(processors)) == (0.5, 1.0)


def test_a_set_of_processors_is_a_limit(tmp_path: Path) -> None:
    """Without a quota, a container may use the processors of its set."""
    roots = machine(tmp_path, V2 | {f"{TOP}/cpu.max": "max 100000", f"{TOP}/cpuset.cpus.effective": "0-1,4"})
    processors = cgroups.processor_limit(roots, 8)
    assert processors is not None
    assert (processors.cpus, processors.numbers) == (3.0, (0, 1, 4))
