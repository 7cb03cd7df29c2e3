"""The sampler: who is called, and how often it looks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from smartmob.hosts.model import Snapshot
from smartmob.hosts.sampler.sampler import Sampler
from smartmob.kernel.runtime.tasks import TaskRegistry
from tests.waiting import until


@pytest.fixture(name="looking")
async def _looking() -> AsyncIterator[tuple[Sampler, list[Snapshot], list[float]]]:
    """Return a sampler at work, the sweeps of each second, and the times of each look."""
    sampler, tasks = Sampler("/"), TaskRegistry()
    seconds: list[Snapshot] = []
    looks: list[float] = []
    sampler.each_second.append(seconds.append)
    sampler.each_look.append(lambda _, now: looks.append(now))
    await sampler.look()
    tasks.start("sampler", sampler.look_for_ever())
    yield sampler, seconds, looks
    await tasks.close()


async def _until(looks: list[float], count: int) -> None:
    await until(lambda: len(looks) >= count)


async def test_each_second(looking: tuple[Sampler, list[Snapshot], list[float]]) -> None:
    """It looks once a second, and tells everybody the same."""
    sampler, seconds, looks = looking
    await _until(looks, 2)
    assert len(seconds) == 2
    assert sampler.latest is seconds[-1]
    assert seconds[0].at < seconds[1].at


async def test_in_a_hurry(looking: tuple[Sampler, list[Snapshot], list[float]]) -> None:
    """While somebody asks for it it looks more often, and still tells each second only once."""
    sampler, seconds, looks = looking
    sampler.look_every(0.1)
    await _until(looks, 12)
    assert 1 <= len(seconds) < len(looks)
    sampler.look_every(1.0)
    many = len(looks)
    await _until(looks, many + 1)
    assert len(seconds) < len(looks)


async def test_a_look_that_fails(tmp_path: Path) -> None:
    """It is logged, and the next one comes."""
    disk = tmp_path / "disk"
    disk.mkdir()
    sampler, tasks = Sampler(str(disk)), TaskRegistry()
    looks: list[float] = []
    sampler.each_look.append(lambda _, now: looks.append(now))
    await sampler.look()
    disk.rmdir()
    sampler.look_every(0.1)
    with structlog.testing.capture_logs() as logs:
        tasks.start("sampler", sampler.look_for_ever())
        await until(lambda: logs)
    assert {event["event"] for event in logs} == {"hosts.look_failed"}
    assert looks == []
    disk.mkdir()
    await _until(looks, 1)
    await tasks.close()
