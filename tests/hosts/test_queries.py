"""The queries of machines and of their samples."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from smartmob.errors import NotFound
from smartmob.hosts.model import SampleData
from smartmob.hosts.service import HostsService
from smartmob.hosts.time_series import Span
from smartmob.kernel.runtime import clock


async def test_points_are_raw_samples_or_buckets(feature: Callable[..., HostsService]) -> None:
    """Raw samples where they fit, otherwise buckets; minutes where the samples have expired."""
    service = feature(keep_days=1.0, oldest_days=30.0)
    await service.register("a", "x", may_register=True)
    now = clock.now().replace(microsecond=0)
    times = [now.timestamp() - second for second in range(100)]
    await service.store("a", [SampleData(time=time, cpu=5.0) for time in times])
    hour = Span(now - timedelta(hours=1), now + timedelta(seconds=1))

    width, batches = await service.queries.points("a", hour, 100)
    assert width == 0
    assert len([point async for points in batches for point in points]) == 100

    width, batches = await service.queries.points("a", hour, 99)
    found = [point async for points in batches for point in points]
    assert width == 60
    assert sum(point.samples for point in found) == 100
    assert all(point.width == 60 for point in found)

    old = Span(now - timedelta(days=3), now - timedelta(days=3) + timedelta(seconds=50))
    assert (await service.queries.points("a", old, 1000))[0] == 60
    with pytest.raises(NotFound):
        await service.queries.points("z", hour, 10)


async def test_the_load_of_each_machine_in_a_span(feature: Callable[..., HostsService]) -> None:
    """Each machine with samples in the span is returned with its load."""
    service = feature()
    await service.register("a", "x", may_register=True)
    now = clock.now()
    await service.store("a", [SampleData(time=now.timestamp() - n, cpu=10.0 * n) for n in range(1, 4)])
    (load,) = await service.queries.busy(now - timedelta(seconds=10), now)
    assert (load.host, load.samples, load.cpu and load.cpu.max) == ("a", 3, 30.0)


async def test_time_series_of_several_machines_have_the_same_width(feature: Callable[..., HostsService]) -> None:
    """The points of all machines have the same width, and a machine without samples has none."""
    service = feature(keep_days=1.0, oldest_days=30.0)
    now = clock.now().replace(microsecond=0)
    for number, name in enumerate(("a", "b", "c")):
        await service.register(name, "x", may_register=True)
        samples = [SampleData(time=now.timestamp() - second, cpu=10.0 * number) for second in range(60)]
        await service.store(name, samples if name != "c" else [])
    minutes = Span(now - timedelta(minutes=10), now + timedelta(seconds=1))

    found = await service.queries.time_series(["a", "b", "c"], minutes, 50)
    assert {name: sum(point.samples for point in points) for name, points in found.items()} == {
        "a": 60,
        "b": 60,
        "c": 0,
    }
    assert {point.cpu.avg for point in found["b"] if point.cpu is not None} == {10.0}
    assert len({point.width for points in found.values() for point in points}) == 1
    old = await service.queries.time_series(["a"], Span(now - timedelta(days=2), now + timedelta(seconds=1)), 5_000)
    assert {point.width for point in old["a"]} == {60.0}
