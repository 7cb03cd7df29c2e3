"""Prometheus gauges of the service's own machine and of its clients."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from smartmob.hosts.fields import FIELDS
from smartmob.hosts.sampler.sampler import Sampler
from smartmob.kernel.observability.prometheus import Gauge


def host_gauges(sampler: Sampler, connections: Callable[[], int], subscribers: Callable[[], int]) -> Iterator[Gauge]:
    """Yield the gauges of clients, and those of the newest snapshot unless it is too old.

    A value that could not be measured has no gauge; `smartmob_host_figure_stale` names it.
    """

    def one(value: float) -> dict[str, float]:
        return {"": value}

    yield Gauge("smartmob_hosts_connections", "WebSocket clients that are connected now.", one(connections()))
    yield Gauge("smartmob_hosts_watchers", "Subscriptions to the load of the machine.", one(subscribers()))
    snapshot = sampler.current()
    if snapshot is None:
        return
    cores = {str(number): load for number, load in enumerate(snapshot.cores)}
    for field in FIELDS:
        if field.gauge is not None and (value := field.raw(snapshot)) is not None:
            yield Gauge(field.gauge, field.help, one(value))
    yield Gauge("smartmob_host_core_percent", "Load of a processor.", cores, "core")
    if snapshot.load is not None:
        loads = dict(zip(("1m", "5m", "15m"), snapshot.load, strict=True))
        yield Gauge("smartmob_host_load", "Load average.", loads, "over")
    if snapshot.memory is not None:
        yield Gauge("smartmob_host_memory_total_bytes", "Memory.", one(snapshot.memory.total))
    if snapshot.storage is not None:
        yield Gauge("smartmob_host_storage_total_bytes", "Disk space.", one(snapshot.storage.total))
    stale = dict.fromkeys(snapshot.stale, 1.0)
    yield Gauge("smartmob_host_figure_stale", "1 for a value that cannot be measured now.", stale, "figure")
    yield Gauge("smartmob_host_temperature_celsius", "Temperatures.", snapshot.temperatures, "sensor")
