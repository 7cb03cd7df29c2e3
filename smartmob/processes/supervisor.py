"""The supervisor of one process: carries out what its machine decides, and tells it what happens."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import structlog

from smartmob.errors import Conflict, Unavailable
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.child import Child, Exit, SpawnFailed
from smartmob.kernel.subprocesses.output import Pipe
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.processes import model
from smartmob.processes import state_machine as m
from smartmob.processes.output import ProcessOutput
from smartmob.processes.state_machine import ProcessStateMachine

log = structlog.get_logger()

_LAST_LINES = 10


class PreparationError(Exception):
    """A process cannot be prepared: `state` is one of the model's failures, the message is for a person."""

    def __init__(self, state: str, message: str) -> None:
        super().__init__(message)
        self.state = state


@dataclass(frozen=True, slots=True)
class SupervisorDependencies:
    """What all supervisors share.

    `prepare` makes everything ready to start a process and reports on the way; it raises PreparationError. `tell` is
    called with each thing that happens.
    """

    spawner: Spawner
    tasks: TaskRegistry
    prepare: Callable[[Supervisor], Awaitable[model.Ready]]
    tell: Callable[[model.ProcessEvent], None]


class Supervisor:
    """Keeps one process as it is wanted. Its methods return at once unless they say otherwise."""

    def __init__(self, definition: model.Definition, around: SupervisorDependencies, console_bytes: int) -> None:
        self.definition = definition
        self.channel = ProcessOutput(console_bytes)
        self.sample: model.Sample | None = None
        self.deleted = False
        self.downloaded: tuple[int, int | None] | None = None
        self.ready: model.Ready | None = None
        self._around = around
        self._loop = asyncio.get_running_loop()
        self._machine = ProcessStateMachine(definition.grace, random.random)
        self._child: Child | None = None
        self._pipe: Pipe | None = None
        self._preparation: asyncio.Task[m.Event] | None = None
        self._alarm: asyncio.Handle | None = None
        self._at_rest: list[asyncio.Future[None]] = []
        self._started_at: datetime | None = None

    @property
    def slug(self) -> str:
        """Return the unique name of the process."""
        return self.definition.slug

    @property
    def pid(self) -> int | None:
        """Return the process id while it runs."""
        return self._machine.pid

    def redefine(self, **changes: Any) -> None:
        """Change what is kept of its definition."""
        self.definition = msgspec.structs.replace(self.definition, **changes)

    def start(self, *, fresh: bool = False) -> None:
        """Have it run; with `fresh` one that runs is stopped first."""
        self._feed(m.StartAsked(fresh))

    def stop(self) -> None:
        """Have it not run; `rested` tells when that is so."""
        self._feed(m.StopAsked())

    async def rested(self) -> None:
        """Return when nothing is left of what was stopped; raises Conflict when it is started again before."""
        if not self._machine.idle:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._at_rest.append(waiter)
            await waiter

    def signal(self, number: int) -> None:
        """Send a signal to its process group; raises Conflict when it does not run."""
        if self._child is None or not self._child.alive:
            raise Conflict(f"{self.slug} does not run now: it is {self._machine.state}")
        self._child.signal(number)

    def advance(self, state: str, downloaded: tuple[int, int | None] | None = None) -> None:
        """Take note of how far the preparation is."""
        self.downloaded = downloaded
        if self._machine.state != model.STOPPING:
            self._feed(m.Advanced(state))

    def snapshot(self) -> model.Snapshot:
        """Return how it is now."""
        machine, now = self._machine, self._loop.time()
        failed = machine.state in model.FAILURES or machine.state == model.BACKOFF
        running = machine.pid is not None
        return model.Snapshot(
            definition=self.definition,
            state=machine.state,
            detail=machine.detail,
            output=self.channel.tail(_LAST_LINES) if failed else [],
            downloaded=self.downloaded if machine.state == model.DOWNLOADING else None,
            pid=machine.pid,
            port=self.ready.port if self.ready else None,
            started_at=self._started_at,
            uptime=now - machine.started_at if running and machine.started_at is not None else None,
            restarts=machine.restarts,
            last_status=machine.last_status,
            next_try_at=None if machine.next_try is None else clock.now() + timedelta(seconds=machine.next_try - now),
            sample=self.sample if running else None,
            viewers=self.channel.viewers,
        )

    def _feed(self, event: m.Event) -> None:
        for action in self._machine.handle(event, self._loop.time()):
            self._act(action)
        if self._machine.wanted or self._machine.idle:
            waiters, self._at_rest = self._at_rest, []
            for waiter in waiters:
                if waiter.done():
                    continue  # who waited has gone
                if self._machine.wanted:
                    waiter.set_exception(Conflict(f"{self.slug} was started again before it had been stopped"))
                else:
                    waiter.set_result(None)

    def _act(self, action: m.Action) -> None:
        tasks = self._around.tasks
        match action:
            case m.Prepare():
                self._preparation = tasks.start(f"prepare-{self.slug}", self._prepare())
                # Not in the task itself: one that is cancelled at once does not even begin.
                self._preparation.add_done_callback(
                    lambda task: self._feed(m.PreparationFailed(model.STOPPED) if task.cancelled() else task.result())
                )
            case m.GiveUp():
                if self._preparation is not None:
                    self._preparation.cancel()
            case m.Spawn():
                tasks.start(f"spawn-{self.slug}", self._spawn())
            case m.Terminate():
                if self._child is not None:
                    self._child.signal(signal.SIGTERM)
            case m.Kill():
                if self._child is not None:
                    self._child.kill()
            case m.StartTimer():
                if self._alarm is not None:
                    self._alarm.cancel()
                self._alarm = self._loop.call_at(action.at, self._feed, m.TimerFired(action.number))
            case m.Report():
                self._tell(action.kind, action.text)

    def _tell(self, kind: str, text: str) -> None:
        detail: dict[str, Any] = {}
        if kind in ("started", "restarted") and self.ready is not None:
            self._started_at = clock.now()
            detail |= {"pid": self._machine.pid, "port": self.ready.port}
            text += f", PORT={self.ready.port}"
        elif kind == "exited":
            detail["status"] = self._machine.last_status
        detail["text"] = text
        self.channel.note(text)
        log.info("process", slug=self.slug, what=kind, said=text)
        self._around.tell(model.ProcessEvent(slug=self.slug, at=clock.now(), kind=kind, detail=detail))

    async def _prepare(self) -> m.Event:
        try:
            self.ready = await self._around.prepare(self)
        except PreparationError as error:
            return m.PreparationFailed(error.state, str(error))
        except Exception as error:
            log.exception("process.failed", slug=self.slug)
            return m.PreparationFailed(model.UNPACK_FAILURE, f"the service failed: {error!r}")
        return m.Prepared()

    async def _spawn(self) -> None:
        assert self.ready is not None
        ready, spawner = self.ready, self._around.spawner
        try:
            child, pipe = await spawner.spawn_with_output(ready.argv, ready.env, Path(ready.folder), self.channel.write)
        except (SpawnFailed, Unavailable) as error:
            self._feed(m.StartFailed(str(error)))
            return
        except OSError as error:
            self._feed(m.StartFailed(f"cannot start the program: {error.strerror}"))
            return
        self._child, self._pipe = child, pipe
        self._feed(m.Started(child.pid))
        child.when_exited(self._exited)
        child.when_gone(self._gone)

    def _exited(self, ended: Exit) -> None:
        if self._pipe is not None:
            # What it wrote before its end is told before its end.
            self._around.spawner.pipe_reader.drain(self._pipe)
        self.channel.end_line()
        self._feed(m.Exited(ended.status))

    def _gone(self, child: Child) -> None:
        if self._pipe is not None:
            self._around.spawner.pipe_reader.drain(self._pipe)
            self._around.spawner.pipe_reader.close(self._pipe)
        self.channel.end_line()
        self._child = self._pipe = None
        self.sample = None
        self._feed(m.TreeGone())
