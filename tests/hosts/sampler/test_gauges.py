"""The figures for Prometheus."""

from __future__ import annotations

from smartmob.hosts.sampler.gauges import figures
from smartmob.hosts.sampler.sampler import Sampler
from tests.hosts.samples import sweep


def test_before_the_first_look() -> None:
    """Only what does not need one is told."""
    assert [gauge.name for gauge in figures(Sampler("/"), lambda: 1, lambda: 2)] == [
        *("smartmob_hosts_connections", "smartmob_hosts_watchers"),
    ]


def test_the_latest_look() -> None:
    """Each figure is there in the unit of its name."""
    sampler = Sampler("/")
    sampler.newest = sweep()
    found = {gauge.name: gauge.values for gauge in figures(sampler, lambda: 1, lambda: 2)}
    assert found["smartmob_hosts_connections"] == {"": 1}
    assert found["smartmob_hosts_watchers"] == {"": 2}
    assert found["smartmob_host_cpu_percent"] == {"": 12.5}
    assert found["smartmob_host_core_percent"] == {"0": 10.0, "1": 15.0}
    assert found["smartmob_host_load"] == {"1m": 0.5, "5m": 0.4, "15m": 0.3}
    assert found["smartmob_host_memory_used_bytes"] == {"": 3 * 2**30}
    assert found["smartmob_host_temperature_celsius"] == {"cpu 0": 55.5}
