"""The sampler: its callbacks and its intervals."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import structlog

from smartmob.errors import Unavailable
from smartmob.hosts.fields import Snapshot
from smartmob.hosts.sampler.devices import Choice
from smartmob.hosts.sampler.sampler import Sampler
from smartmob.kernel.runtime.tasks import TaskRegistry
from tests.waiting import until


@pytest.fixture(name="looking")
async def _looking() -> AsyncIterator[tuple[Sampler, list[Snapshot], list[float]]]:
    """Return a sampler at work, the snapshots of each second, and the times of each look."""
    seconds: list[Snapshot] = []
    sampler, tasks = Sampler(on_second=(seconds.append,)), TaskRegistry()
    evaluations: list[float] = []
    sampler.subscribe(lambda _, now: evaluations.append(now))
    await sampler.read()
    tasks.start("sampler", sampler.run())
    yield sampler, seconds, evaluations
    await tasks.close()


async def _until(evaluations: list[float], count: int) -> None:
    await until(lambda: len(evaluations) >= count)


async def test_a_snapshot_is_read_each_second(looking: tuple[Sampler, list[Snapshot], list[float]]) -> None:
    """All callbacks get the same snapshot."""
    sampler, seconds, _ = looking
    # A second that was late is followed by a look that is none.
    await until(lambda: len(seconds) >= 2 and sampler.latest is seconds[-1])
    assert seconds[0].at < seconds[1].at


async def test_a_shorter_interval_does_not_change_the_seconds(
    looking: tuple[Sampler, list[Snapshot], list[float]],
) -> None:
    """Snapshots come more often, and the callbacks of each second still once a second."""
    sampler, seconds, evaluations = looking
    sampler.read_every(0.1)
    await _until(evaluations, 12)
    assert 1 <= len(seconds) < len(evaluations)
    sampler.read_every(1.0)
    many = len(evaluations)
    await _until(evaluations, many + 1)
    assert len(seconds) < len(evaluations)


async def test_a_field_that_fails_is_logged_and_the_others_go_on(tmp_path: Path) -> None:
    """It is logged once when it becomes stale and once when it is measured again; snapshots go on."""
    disk = tmp_path / "disk"
    disk.mkdir()
    sampler = Sampler(Choice(folders=(str(disk),)))
    with structlog.testing.capture_logs() as logs:
        assert (await sampler.read()).stale == {}
        disk.rmdir()
        for _ in range(2):
            assert set((await sampler.read()).stale) == {"storage"}
        note = await sampler.check()
        disk.mkdir()
        assert (await sampler.read()).stale == {}
        assert await sampler.check() is None
    events = [event for event in logs if event["event"] != "hosts.container_detected"]
    assert [(event["event"], event["field"]) for event in events] == [
        *(("hosts.field_failed", "storage"), ("hosts.field_recovered", "storage")),
    ]
    assert note is not None
    assert note.startswith("storage is stale for ")
    assert str(disk) in note


async def test_an_old_snapshot_is_not_the_present_load() -> None:
    """The check fails after no snapshot was read for a while."""
    sampler = Sampler()
    await sampler.read()
    assert sampler.current() is sampler.latest
    sampler._read_at = time.monotonic() - 60
    assert sampler.current() is None
    with pytest.raises(Unavailable, match="not read for more than 10 s"):
        await sampler.check()
