"""A worker process of a turret: `python -m smartmob.turrets.turret.worker FD` fires a share of the cannons."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path

from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.turrets.turret import configuration, script, worker_pipe
from smartmob.turrets.turret.user_pool import FiringPlan, UserPool

COLLECT_SECONDS = 0.25
"""Seconds between two batches of results to the turret."""


class Worker:
    """Executes the messages of the turret at the other end of the pipe."""

    def __init__(self, pipe: worker_pipe.WorkerPipe, tasks: TaskRegistry) -> None:
        self._pipe = pipe
        self._tasks = tasks
        self._load: worker_pipe.LoadMessage | None = None
        self._script: script.Script | None = None
        self._pool: UserPool | None = None

    async def work(self) -> None:
        """Handle messages until the turret closes its end of the pipe."""
        while (message := await self._pipe.receive()) is not None:
            match message:
                case worker_pipe.LoadMessage():
                    self._pipe.send(worker_pipe.Loaded(self._prepare(message)))
                case worker_pipe.FireMessage(plan):
                    self._tasks.start("firing", self._fire(plan))
                case worker_pipe.StopMessage(at_once) if self._pool is not None:
                    self._pool.stop(at_once=at_once)
                case worker_pipe.PauseMessage(paused) if self._pool is not None:
                    (self._pool.pause if paused else self._pool.resume)()

    def _prepare(self, load: worker_pipe.LoadMessage) -> str:
        """Load the script; return an error text, or "" on success."""
        self._load = load
        try:
            self._script = script.load(Path(load.script), tuple(Path(folder) for folder in load.folders))
        except script.ScriptError as error:
            return str(error)
        return ""

    async def _fire(self, plan: FiringPlan) -> None:
        assert self._load is not None and self._script is not None
        settings = configuration.parse(self._load.config)
        self._pool = pool = UserPool(self._script, self._load.config, settings, self._tasks, self._load.share)
        collecting = self._tasks.start("collecting", self._collect_loop(pool))
        reason = ""
        try:
            await pool.fire(plan)
        except RuntimeError as error:
            reason = str(error)
        collecting.cancel()
        self._pool = None
        self._pipe.send(worker_pipe.Fired(pool.take(everything=True), ended=True, reason=reason))

    async def _collect_loop(self, pool: UserPool) -> None:
        while True:
            await asyncio.sleep(COLLECT_SECONDS)
            self._pipe.send(worker_pipe.Fired(pool.take()))
            await self._pipe.drained()


async def main(descriptor: int) -> None:
    """Run a worker for the turret at the other end of the socket `descriptor`."""
    tasks = TaskRegistry()
    pipe = await worker_pipe.WorkerPipe.of(socket.socket(fileno=descriptor))
    try:
        await Worker(pipe, tasks).work()
    finally:
        await tasks.close()
        await pipe.close()


if __name__ == "__main__":
    # CTRL-C in a terminal sends SIGINT to all processes; only the turret handles it and stops its workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from smartmob.turrets.turret.event_loop import runner

    with runner() as running:
        running.run(main(int(sys.argv[1])))
