"""The load of the service's own machine as figures for Prometheus."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from smartmob.hosts.sampler.sampler import Sampler
from smartmob.kernel.observability.prometheus import Gauge


def figures(sampler: Sampler, connections: Callable[[], int], watchers: Callable[[], int]) -> Iterator[Gauge]:
    """Yield the latest sweep, and how many clients are connected and watch."""

    def one(value: float) -> dict[str, float]:
        return {"": value}

    yield Gauge("smartmob_hosts_connections", "WebSocket clients that are connected now.", one(connections()))
    yield Gauge("smartmob_hosts_watchers", "Subscriptions to the load of the machine.", one(watchers()))
    sweep = sampler.newest
    if sweep is None:
        return
    cores = {str(number): load for number, load in enumerate(sweep.cores)}
    loads = dict(zip(("1m", "5m", "15m"), sweep.load, strict=True))
    memory, storage = sweep.memory, sweep.storage
    yield Gauge("smartmob_host_cpu_percent", "Load of all processors.", one(sweep.cpu))
    yield Gauge("smartmob_host_core_percent", "Load of a processor.", cores, "core")
    yield Gauge("smartmob_host_load", "Load average.", loads, "over")
    yield Gauge("smartmob_host_memory_used_bytes", "Memory in use.", one(memory.used))
    yield Gauge("smartmob_host_memory_total_bytes", "Memory.", one(memory.total))
    yield Gauge("smartmob_host_swap_used_bytes", "Swap space in use.", one(sweep.swap_used))
    yield Gauge("smartmob_host_storage_used_bytes", "Disk space in use.", one(storage.used))
    yield Gauge("smartmob_host_storage_total_bytes", "Disk space.", one(storage.total))
    yield Gauge("smartmob_host_disk_read_bytes_per_second", "Read from disks.", one(sweep.disk_read))
    yield Gauge("smartmob_host_disk_write_bytes_per_second", "Written to disks.", one(sweep.disk_write))
    yield Gauge("smartmob_host_net_received_bytes_per_second", "Received from networks.", one(sweep.net_received))
    yield Gauge("smartmob_host_net_sent_bytes_per_second", "Sent to networks.", one(sweep.net_sent))
    yield Gauge("smartmob_host_temperature_celsius", "Temperatures.", sweep.temperatures, "sensor")
