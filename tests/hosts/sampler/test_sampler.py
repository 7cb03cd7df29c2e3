"""The sampler: its callbacks and its intervals."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from smartmob.hosts.fields import Snapshot
from smartmob.hosts.sampler.sampler import Sampler
from smartmob.kernel.runtime.tasks import TaskRegistry
from tests.waiting import until


@pytest.fixture(name="looking")
async def _looking() -> AsyncIterator[tuple[Sampler, list[Snapshot], list[float]]]:
    """Return a sampler at work, the snapshots of each second, and the times of each look."""
    sampler, tasks = Sampler("/"), TaskRegistry()
    seconds: list[Snapshot] = []
    looks: list[float] = []
    sampler.on_second.append(seconds.append)
    sampler.on_snapshot.append(lambda _, now: looks.append(now))
    await sampler.read()
    tasks.start("sampler", sampler.run())
    yield sampler, seconds, looks
    await tasks.close()


async def _until(looks: list[float], count: int) -> None:
    await until(lambda: len(looks) >= count)


async def test_a_snapshot_is_read_each_second(looking: tuple[Sampler, list[Snapshot], list[float]]) -> None:
    """All callbacks get the same snapshot."""
    sampler, seconds, looks = looking
    await _until(looks, 2)
    assert len(seconds) == 2
    assert sampler.latest is seconds[-1]
    assert seconds[0].at < seconds[1].at


async def test_a_shorter_interval_does_not_change_the_seconds(
    looking: tuple[Sampler, list[Snapshot], list[float]],
) -> None:
    """Snapshots come more often, and the callbacks of each second still once a second."""
    sampler, seconds, looks = looking
    sampler.read_every(0.1)
    await _until(looks, 12)
    assert 1 <= len(seconds) < len(looks)
    sampler.read_every(1.0)
    many = len(looks)
    await _until(looks, many + 1)
    assert len(seconds) < len(looks)


async def test_a_snapshot_that_fails_is_logged_and_repeated(tmp_path: Path) -> None:
    """It is logged, and the next one is read."""
    disk = tmp_path / "disk"
    disk.mkdir()
    sampler, tasks = Sampler(str(disk)), TaskRegistry()
    looks: list[float] = []
    sampler.on_snapshot.append(lambda _, now: looks.append(now))
    await sampler.read()
    disk.rmdir()
    sampler.read_every(0.1)
    with structlog.testing.capture_logs() as logs:
        tasks.start("sampler", sampler.run())
        await until(lambda: logs)
    assert {event["event"] for event in logs} == {"hosts.look_failed"}
    assert looks == []
    disk.mkdir()
    await _until(looks, 1)
    await tasks.close()
