"""One of several processes of a turret: `python -m smartmob.turrets.turret.worker FD` fires a share of its cannons."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path

from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.turrets.turret import configuration, script, worker_pipe
from smartmob.turrets.turret.user_pool import FiringPlan, UserPool

GATHER_SECONDS = 0.25
"""So often what was fired is sent on."""


class Worker:
    """Does what the turret at the other end of the pipe says, and ends with it."""

    def __init__(self, line: worker_pipe.WorkerPipe, tasks: TaskRegistry) -> None:
        self._line = line
        self._tasks = tasks
        self._load: worker_pipe.LoadMessage | None = None
        self._script: script.Script | None = None
        self._battery: UserPool | None = None

    async def work(self) -> None:
        """Return when the turret has ended."""
        while (message := await self._line.receive()) is not None:
            match message:
                case worker_pipe.LoadMessage():
                    self._line.send(worker_pipe.Loaded(self._prepare(message)))
                case worker_pipe.FireMessage(plan):
                    self._tasks.start("firing", self._fire(plan))
                case worker_pipe.StopMessage(at_once) if self._battery is not None:
                    self._battery.cease(at_once=at_once)
                case worker_pipe.PauseMessage(paused) if self._battery is not None:
                    (self._battery.pause if paused else self._battery.resume)()

    def _prepare(self, load: worker_pipe.LoadMessage) -> str:
        """Load the script; return why it cannot be loaded, or ""."""
        self._load = load
        try:
            self._script = script.load(Path(load.script), tuple(Path(folder) for folder in load.folders))
        except script.ScriptError as error:
            return str(error)
        return ""

    async def _fire(self, plan: FiringPlan) -> None:
        assert self._load is not None and self._script is not None
        settings = configuration.parse(self._load.config)
        self._battery = battery = UserPool(self._script, self._load.config, settings, self._tasks, self._load.share)
        gathering = self._tasks.start("gathering", self._gather(battery))
        reason = ""
        try:
            await battery.fire(plan)
        except RuntimeError as error:
            reason = str(error)
        gathering.cancel()
        self._battery = None
        self._line.send(worker_pipe.Fired(battery.take(everything=True), ended=True, reason=reason))

    async def _gather(self, battery: UserPool) -> None:
        while True:
            await asyncio.sleep(GATHER_SECONDS)
            self._line.send(worker_pipe.Fired(battery.take()))
            await self._line.drained()


async def main(descriptor: int) -> None:
    """Work for the turret at the other end of the socket."""
    tasks = TaskRegistry()
    line = await worker_pipe.WorkerPipe.of(socket.socket(fileno=descriptor))
    try:
        await Worker(line, tasks).work()
    finally:
        await tasks.close()
        await line.close()


if __name__ == "__main__":
    # CTRL-C at the terminal goes to all processes; the turret tells its workers what to do.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    from smartmob.turrets.turret.event_loop import runner

    with runner() as running:
        running.run(main(int(sys.argv[1])))
