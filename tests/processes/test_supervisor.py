"""A supervisor with real children, without the rest of the service."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from smartmob.errors import Conflict
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.processes import model
from smartmob.processes.health.prober import Prober
from smartmob.processes.preparation.preparer import PreparationError, PreparationListener
from smartmob.processes.supervisor import Supervisor, SupervisorDependencies
from tests.kernel.subprocesses.families import living
from tests.kernel.subprocesses.files import no_more_files
from tests.waiting import until

DEFINITION = model.Definition(
    slug="app.web.0", app="app", node="web.0", process_type="web", source_url="http://host/a", env={}, grace=5.0,
    created_at=datetime(2026, 11, 23, tzinfo=UTC),
)  # fmt: skip


class Stage:
    """A supervisor whose preparation is controlled by the test."""

    def __init__(self, folder: Path) -> None:
        self.tasks = TaskRegistry()
        self.spawner = Spawner(self.tasks)
        self.command = "echo hello; exec sleep 600"
        self.gate = asyncio.Event()
        self.gate.set()
        self.error: Exception | None = None
        self.prepared = 0
        self.published: list[str] = []
        self.digests: list[str | None] = []
        self.completed: list[str] = []
        dependencies = SupervisorDependencies(
            self.spawner,
            self.tasks,
            prepare=self._prepare,
            publish=lambda event: self.published.append(event.kind),
            on_digest=lambda definition: self.digests.append(definition.digest),
            on_completed=lambda definition: self.completed.append(definition.slug),
            execute=Prober(self.spawner).execute,
        )
        self.supervisor = Supervisor(DEFINITION, dependencies, 10_000)
        self._folder = folder

    async def _prepare(self, definition: model.Definition, listener: PreparationListener) -> model.PreparedProcess:
        listener.advanced(model.DOWNLOADING, (1, 2))
        self.prepared += 1
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        argv = ["/bin/sh", "-c", self.command]
        return model.PreparedProcess(argv=argv, env=dict(os.environ), folder=str(self._folder), port=1, digest="d")

    async def become(self, state: str) -> model.ProcessSnapshot:
        await until(lambda: self.supervisor.snapshot().state == state)
        return self.supervisor.snapshot()

    async def close(self) -> None:
        self.supervisor.stop()
        await self.supervisor.wait_stopped()
        await self.spawner.close()
        await self.tasks.close()


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    stage = Stage(tmp_path)
    yield stage
    await stage.close()


async def test_wait_stopped_returns_when_the_process_tree_is_gone(stage: Stage) -> None:
    """Several calls can wait."""
    stage.supervisor.start()
    running = await stage.become(model.RUNNING)
    assert running.pid is not None
    await until(lambda: stage.supervisor.output.tail(1) == ["hello"])
    stage.supervisor.stop()
    await asyncio.gather(stage.supervisor.wait_stopped(), stage.supervisor.wait_stopped())
    assert living([running.pid]) == []
    assert stage.published == ["started", "stopping", "exited", "stopped"]
    assert stage.digests == ["d"]
    await stage.supervisor.wait_stopped()


async def test_a_second_start_needs_no_second_preparation(stage: Stage) -> None:
    """The result of the preparation is kept."""
    stage.supervisor.start()
    await stage.become(model.RUNNING)
    stage.supervisor.stop()
    await stage.supervisor.wait_stopped()
    stage.supervisor.start()
    await stage.become(model.RUNNING)
    assert stage.prepared == 1


async def test_a_stop_cancels_a_preparation_that_hangs(stage: Stage) -> None:
    """A later start prepares again."""
    stage.gate.clear()
    stage.supervisor.start()
    assert (await stage.become(model.DOWNLOADING)).downloaded == (1, 2)
    stage.supervisor.stop()
    await stage.supervisor.wait_stopped()
    assert stage.supervisor.snapshot().state == model.STOPPED
    stage.gate.set()
    stage.supervisor.start()
    await stage.become(model.RUNNING)


async def test_a_stop_before_the_preparation_begins_prevents_it(stage: Stage) -> None:
    """The task of the preparation is cancelled before its first step."""
    stage.supervisor.start()
    stage.supervisor.stop()
    await stage.supervisor.wait_stopped()
    assert (stage.prepared, stage.supervisor.snapshot().state) == (0, model.STOPPED)


async def test_the_last_of_several_requests_at_once_counts(stage: Stage) -> None:
    """A start, a stop and a start lead to a running program."""
    stage.supervisor.start()
    stage.supervisor.stop()
    stage.supervisor.start()
    await stage.become(model.RUNNING)


async def test_a_failed_preparation_is_shown_until_the_next_start(stage: Stage) -> None:
    """The snapshot has its reason."""
    stage.error = PreparationError(model.NO_PROCFILE, "there is none")
    stage.supervisor.start()
    failed = await stage.become(model.NO_PROCFILE)
    assert (failed.detail, failed.pid) == ("there is none", None)
    stage.error = None
    stage.supervisor.restart()
    await stage.become(model.RUNNING)


async def test_a_bug_in_the_preparation_is_a_failure_like_others(stage: Stage) -> None:
    """The exception is shown in the detail."""
    stage.error = RuntimeError("a bug")
    stage.supervisor.start()
    failed = await stage.become(model.UNPACK_FAILURE)
    assert "a bug" in failed.detail


async def test_a_start_without_file_descriptors_is_repeated(stage: Stage) -> None:
    """The process runs once the service has free descriptors."""
    with no_more_files():
        stage.supervisor.start()
        refused = await stage.become(model.BACKOFF)
    assert "Too many open files" in refused.detail
    stage.supervisor.restart()
    await stage.become(model.RUNNING)


async def test_a_signal_needs_a_running_program(stage: Stage) -> None:
    """The error names the state of the process."""
    with pytest.raises(Conflict, match="it is pending"):
        stage.supervisor.signal(1)
