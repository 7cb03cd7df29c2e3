"""The gauges for Prometheus."""

from __future__ import annotations

import time

from smartmob.hosts.fields import StaleField
from smartmob.hosts.sampler.gauges import host_gauges
from smartmob.hosts.sampler.sampler import Sampler
from tests.hosts.samples import snapshot


def test_without_a_snapshot_there_are_only_the_clients() -> None:
    """The gauges of the machine are missing."""
    assert [gauge.name for gauge in host_gauges(Sampler(), lambda: 1, lambda: 2)] == [
        *("smartmob_hosts_connections", "smartmob_hosts_watchers"),
    ]


def test_each_gauge_has_the_unit_of_its_name() -> None:
    """The values of the newest snapshot, in the unit of the gauge's name."""
    sampler = Sampler()
    sampler.newest = snapshot()
    found = {gauge.name: gauge.values for gauge in host_gauges(sampler, lambda: 1, lambda: 2)}
    assert found["smartmob_hosts_connections"] == {"": 1}
    assert found["smartmob_hosts_watchers"] == {"": 2}
    assert found["smartmob_host_cpu_percent"] == {"": 12.5}
    assert found["smartmob_host_core_percent"] == {"0": 10.0, "1": 15.0}
    assert found["smartmob_host_load"] == {"1m": 0.5, "5m": 0.4, "15m": 0.3}
    assert found["smartmob_host_memory_used_bytes"] == {"": 3 * 2**30}
    assert found["smartmob_host_temperature_celsius"] == {"cpu 0": 55.5}


def test_a_stale_field_has_no_gauge() -> None:
    """It vanishes and is named by a gauge of its own; when the snapshot is old, all figures vanish."""
    sampler = Sampler()
    stale = {"mem": StaleField(1.0, 5.0, "gone"), "load": StaleField(), "storage": StaleField()}
    sampler.newest = snapshot(memory=None, load=None, storage=None, cpu=None, stale=stale)
    found = {gauge.name: gauge.values for gauge in host_gauges(sampler, lambda: 1, lambda: 2)}
    gone = (
        "memory_used_bytes",
        "memory_total_bytes",
        "load",
        "storage_used_bytes",
        "storage_total_bytes",
        "cpu_percent",
    )
    assert not {f"smartmob_host_{name}" for name in gone} & set(found)
    assert found["smartmob_host_figure_stale"] == {"mem": 1, "load": 1, "storage": 1}
    assert "smartmob_host_swap_used_bytes" in found
    sampler._read_at = time.monotonic() - 60
    assert len(list(host_gauges(sampler, lambda: 1, lambda: 2))) == 2
