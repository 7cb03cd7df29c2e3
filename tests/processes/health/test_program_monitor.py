"""The monitor of one running program, with executions that the test answers."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes import model
from smartmob.processes.health import state_machine as m
from smartmob.processes.health.program_monitor import Monitor
from tests.waiting import until

READY = model.PreparedProcess(
    argv=["x"], env={}, folder="/", port=1, digest="",
    options=model.Options(
        readiness=model.HealthCheck(http="/", interval=0.1), liveness=model.HealthCheck(tcp=1, interval=0.1,
        failure_threshold=1)
    ),
)  # fmt: skip


class Checks:
    """Executions of checks; `results` are those of the next ones, by kind, and the last one is repeated."""

    def __init__(self) -> None:
        self.results = {True: [True], False: [True]}  # by whether it is the readiness
        self.gate = asyncio.Event()
        self.executing = 0
        self.most = 0

    async def execute(self, check: model.HealthCheck, ready: model.PreparedProcess) -> m.Finished:
        self.executing += 1
        self.most = max(self.most, self.executing)
        try:
            await self.gate.wait()
        finally:
            self.executing -= 1
        results = self.results[check.http is not None]
        return m.Finished(results.pop(0) if len(results) > 1 else results[0], "reason")


@pytest.fixture
async def tasks() -> AsyncIterator[TaskRegistry]:
    tasks = TaskRegistry()
    yield tasks
    await tasks.close()


async def test_changes_are_told_with_the_kind_of_the_check(tasks: TaskRegistry) -> None:
    """Each check has a state of its own."""
    checks, told = Checks(), list[str]()
    checks.gate.set()
    checks.results[True] = [True, False, False, False, True]
    checks.results[False] = [True, False]

    def changed(kind: str) -> None:
        told.append(f"{kind} {monitor.machines[kind].state}")

    monitor = Monitor(READY, checks.execute, tasks, changed)
    await until(lambda: len(told) == 5)
    assert [each for each in told if each.startswith("r")] == [
        f"readiness {s}" for s in ("passing", "failing", "passing")
    ]
    assert [each for each in told if each.startswith("l")] == ["liveness passing", "liveness failing"]
    monitor.stop()


async def test_a_slow_check_is_not_executed_twice_at_once_and_a_stop_cancels_it(tasks: TaskRegistry) -> None:
    """Nothing is told after the stop."""
    checks, told = Checks(), list[str]()
    monitor = Monitor(READY, checks.execute, tasks, told.append)
    await until(lambda: checks.executing == 2)
    monitor.stop()
    await until(lambda: checks.executing == 0)
    checks.gate.set()
    assert (checks.most, told) == (2, [])
    assert not [name for name in tasks.names() if name.startswith("check-")]
