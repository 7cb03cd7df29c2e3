"""The worker processes of a turret with `"processes": N`, with the interface of one user pool."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.turrets.protocol import TurretCounts
from smartmob.turrets.turret import worker_pipe
from smartmob.turrets.turret.script import ScriptError
from smartmob.turrets.turret.user_pool import FiringPlan, ResultBatch

_EXIT_SECONDS = 5.0
"""Seconds between closing the pipe of a worker and SIGKILL."""


class WorkerDied(RuntimeError):
    """A worker process ended although it was not asked to."""


class _Child:
    """A worker process, its pipe, and its latest counts and event loop lag of the run."""

    def __init__(self, process: subprocess.Popen[bytes], pipe: worker_pipe.WorkerPipe) -> None:
        self.process = process
        self.pipe = pipe
        self.counts = TurretCounts()
        self.lag = 0.0
        self.loaded: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()


class Workers:
    """A load generator of several processes, which are started once for all runs. After use you must `close`."""

    def __init__(self, tasks: TaskRegistry) -> None:
        self._tasks = tasks
        self._children: list[_Child] = []
        self._new: list[ResultBatch] = []
        self._closing = False

    @property
    def pids(self) -> list[int]:
        """Return the process ids."""
        return [child.process.pid for child in self._children]

    async def start(self, number: int, config: Mapping[str, Any], script: str, folders: list[str]) -> None:
        """Start the processes and wait until each has loaded the script; raises ScriptError."""
        for index in range(number):
            ours, theirs = socket.socketpair()
            with theirs:
                process = _spawn(theirs.fileno())
            child = _Child(process, await worker_pipe.WorkerPipe.of(ours))
            self._children.append(child)
            self._tasks.start("worker", self._listen(child))
            child.pipe.send(worker_pipe.LoadMessage(dict(config), script, folders, (index, number)))
        for child in self._children:
            if reason := await child.loaded:
                raise ScriptError(reason)

    async def fire(self, plan: FiringPlan) -> None:
        """Fire until `stop`; return when no process fires any more. Raises RuntimeError when one fails or dies."""
        loop = asyncio.get_running_loop()
        for child in self._children:
            child.counts, child.ended = TurretCounts(), loop.create_future()
            if child.process.poll() is not None:
                raise WorkerDied(_exit_text(child))
            child.pipe.send(worker_pipe.FireMessage(plan))
        for reason in await asyncio.gather(*(child.ended for child in self._children)):
            if reason:
                raise RuntimeError(reason)

    def stop(self, *, at_once: bool) -> None:
        """Make all processes start no more transactions."""
        self._send_to_all(worker_pipe.StopMessage(at_once))

    def pause(self) -> None:
        """Make all processes start no transaction until `resume`."""
        self._send_to_all(worker_pipe.PauseMessage(paused=True))

    def resume(self) -> None:
        """End the pause of all processes."""
        self._send_to_all(worker_pipe.PauseMessage(paused=False))

    def take(self, *, everything: bool = False) -> ResultBatch:
        """Return the results of all processes since the last call as one batch."""
        counts = TurretCounts()
        for child in self._children:
            counts.add(child.counts)
        new, self._new = self._new, []
        lag = max((child.lag for child in self._children), default=0.0)
        for child in self._children:
            child.lag = 0.0
        return ResultBatch(
            counts=counts,
            slices=[part for batch in new for part in batch.slices],
            frames=[frame for batch in new for frame in batch.frames],
            lag=lag,
        )

    async def close(self) -> None:
        """Close the pipes, so that the processes end; kill those that do not end in time."""
        self._closing = True
        for child in self._children:
            await child.pipe.close()
        for child in self._children:
            try:
                await asyncio.to_thread(child.process.wait, _EXIT_SECONDS)
            except subprocess.TimeoutExpired:
                child.process.kill()
                await asyncio.to_thread(child.process.wait)

    def _send_to_all(self, message: worker_pipe.Message) -> None:
        for child in self._children:
            child.pipe.send(message)

    async def _listen(self, child: _Child) -> None:
        while (message := await child.pipe.receive()) is not None:
            match message:
                case worker_pipe.Loaded(reason):
                    child.loaded.set_result(reason)
                case worker_pipe.Fired(batch, ended, reason):
                    self._new.append(batch)
                    child.counts, child.lag = batch.counts, max(child.lag, batch.lag)
                    if ended and not child.ended.done():
                        child.ended.set_result(reason)
        if not self._closing:
            await asyncio.to_thread(child.process.wait)
        for future in (child.loaded, child.ended):
            if not future.done():
                future.set_result(_exit_text(child))


def _spawn(descriptor: int) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-m", "smartmob.turrets.turret.worker", str(descriptor)],
        pass_fds=(descriptor,),
        stdin=subprocess.DEVNULL,
    )


def _exit_text(child: _Child) -> str:
    return f"the worker process {child.process.pid} ended with {child.process.returncode}"
