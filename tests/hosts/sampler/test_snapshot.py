"""Snapshots of the machine on which the tests run."""

from __future__ import annotations

import psutil

from smartmob.hosts.sampler.snapshot import SnapshotReader


def test_a_snapshot_has_the_values_of_psutil() -> None:
    """In the same units."""
    found = SnapshotReader("/").read(123.5, 1.0)
    assert found.at == 123.5
    assert len(found.cores) == psutil.cpu_count()
    assert all(0 <= load <= 100 for load in [found.cpu, *found.cores])
    assert found.memory.total == psutil.virtual_memory().total
    assert found.storage.total == psutil.disk_usage("/").total
    assert 0 < found.storage.percent < 100
    assert found.swap_total == psutil.swap_memory().total
    assert min(found.disk_read, found.disk_write, found.net_received, found.net_sent) >= 0


def test_work_between_two_snapshots_is_visible() -> None:
    """A processor was busy in the second of two snapshots with work in between."""
    sweeper = SnapshotReader("/")
    before = psutil.Process().cpu_times().user
    while psutil.Process().cpu_times().user - before < 0.15:
        sum(range(10_000))
    assert max(sweeper.read(0.0, 1.0).cores) > 0


def test_rates_are_per_second() -> None:
    """Counter differences are divided by the seconds between the snapshots."""
    sweeper = SnapshotReader("/")
    sweeper._counters = (0.0, 0.0, 0.0, 0.0)
    found = sweeper.read(0.0, 2.0)
    io = psutil.net_io_counters()
    assert found.net_received <= io.bytes_recv / 2 + 0.1
    sweeper._counters = (1e18, 1e18, 1e18, 1e18)
    assert sweeper.read(0.0, 1.0).net_sent == 0.0
