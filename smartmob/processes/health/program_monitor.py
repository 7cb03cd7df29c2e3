"""Monitors one running program by its checks, from its start until it is asked to end."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes import model
from smartmob.processes.health import state_machine as m


class ExecuteCheck(Protocol):
    """The execution of a check, as a monitor calls it."""

    async def __call__(self, check: model.HealthCheck, ready: model.PreparedProcess) -> m.Finished:
        """Execute a check of a program; return its result."""


class Monitor:
    """Executes the checks of one start of a program. `on_change` is called when a check has become passing or failing.

    It is called with the kind of the check, READINESS or LIVENESS. Call `stop` when the program ends or is to end.
    """

    def __init__(
        self, ready: model.PreparedProcess, execute: ExecuteCheck, tasks: TaskRegistry, on_change: Callable[[str], None]
    ) -> None:
        checks = {model.READINESS: ready.options.readiness, model.LIVENESS: ready.options.liveness}
        self.machines = {kind: m.CheckStateMachine(check) for kind, check in checks.items() if check is not None}
        self._ready = ready
        self._execute = execute
        self._on_change = on_change
        self._tasks = [
            tasks.start(f"check-{kind}", self._run(kind, check)) for kind, check in checks.items() if check is not None
        ]

    def stop(self) -> None:
        """Cancel the checks. A command that runs is killed with its whole process tree."""
        for task in self._tasks:
            task.cancel()

    async def _run(self, kind: str, check: model.HealthCheck) -> None:
        """Execute one check repeatedly."""
        machine, loop = self.machines[kind], asyncio.get_running_loop()
        actions = machine.handle(m.Began(), loop.time())
        while True:
            for action in actions:
                if isinstance(action, m.Execute):
                    await asyncio.sleep(action.at - loop.time())
                else:
                    self._on_change(kind)
            actions = machine.handle(await self._execute(check, self._ready), loop.time())
