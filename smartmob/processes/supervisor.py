"""The supervisor of one process: carries out the actions of its state machine, and feeds it the events."""

from __future__ import annotations

import asyncio
import random
import signal
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import msgspec

from smartmob.errors import Conflict, Unavailable
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.child import Child, Exit, SpawnFailed
from smartmob.kernel.subprocesses.control_groups import ControlGroups
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.kernel.subprocesses.start_errors import interpreter_hint
from smartmob.processes import machine_events, model
from smartmob.processes import state_machine as m
from smartmob.processes.dependencies import Peer, StartVerdict
from smartmob.processes.health.program_monitor import ExecuteCheck, Monitor
from smartmob.processes.output import ProcessOutput
from smartmob.processes.preparation.command import programs
from smartmob.processes.preparation.preparer import PreparationError, PreparationListener
from smartmob.processes.program_limits import ProgramLimits, enforcement, remark
from smartmob.processes.spawned_program import SpawnedProgram, spawn
from smartmob.processes.state_machine import ProcessStateMachine

log = get_logger()

_SHOWN_LINES = 10
"""Lines of output in the status of a process that failed or is in backoff."""


_NOT_FOUND_STATUSES = (126, 127)
"""A shell found no program, or could not run it (POSIX.1-2017, XCU 2.8.2)."""

_LEFT_BEHIND = (
    "it left processes behind, which were ended; a program that puts itself into the background cannot be supervised, "
    "so start it with its option for the foreground"
)


_LINGER_SECONDS = 0.5
"""Seconds that descendants of a program which has succeeded may take to end, as the rest of a pipeline does."""


class PrepareProcess(Protocol):
    """The preparation of a process, as a supervisor calls it."""

    async def __call__(self, definition: model.Definition, listener: PreparationListener) -> model.PreparedProcess:
        """Prepare the start of a process; report to `listener`. Raises PreparationError."""


class SupervisorDependencies(msgspec.Struct, frozen=True):
    """Dependencies that all supervisors share.

    `publish` is called with each process event. `on_digest` is called with the definition when the digest of its source
    has become known or has changed, `on_completed` when the program has ended and is not started again. `on_change` is
    called with the supervisor when the state of its process or of its checks may have changed, and `execute` executes a
    check. `groups` and the samples, one each `sample_seconds`, are used to enforce the limits of programs.
    """

    spawner: Spawner
    tasks: TaskRegistry
    prepare: PrepareProcess
    publish: Callable[[model.ProcessEvent], None]
    on_digest: Callable[[model.Definition], None]
    on_completed: Callable[[model.Definition], None]
    execute: ExecuteCheck
    on_change: Callable[[Supervisor], None] = lambda _: None
    groups: ControlGroups = msgspec.field(default_factory=ControlGroups)
    sample_seconds: float = 5.0


class Supervisor:
    """Keeps one process in the wanted state. The methods return at once, except `wait_stopped`."""

    def __init__(self, definition: model.Definition, dependencies: SupervisorDependencies, console_bytes: int) -> None:
        self.definition = definition
        self._sample: model.Sample | None = None
        self._limits: ProgramLimits | None = None
        self.deleted = False
        self._dependencies = dependencies
        self._loop = asyncio.get_running_loop()
        self.output = ProcessOutput(console_bytes, self._loop.call_later)
        self._machine = ProcessStateMachine(definition.grace, random.random)
        self._downloaded: tuple[int, int | None] | None = None
        self._ready: model.PreparedProcess | None = None
        self._program: SpawnedProgram | None = None
        self._monitor: Monitor | None = None
        self._preparation: asyncio.Task[machine_events.Event] | None = None
        self._timer: asyncio.Handle | None = None
        self._lingering: tuple[asyncio.Handle, Exit] | None = None
        self._waiters: list[asyncio.Future[None]] = []
        self._started_at: datetime | None = None

    @property
    def slug(self) -> str:
        """Return the unique name of the process."""
        return self.definition.slug

    @property
    def pid(self) -> int | None:
        """Return the process id of the program, or None when it does not run."""
        return self._machine.pid

    @property
    def options(self) -> model.Options | None:
        """Return the options of the process, or None before its first preparation."""
        return None if self._ready is None else self._ready.options

    @property
    def is_waiting(self) -> bool:
        """Return whether the process waits for its dependencies."""
        return self._machine.phase is m.Phase.WAITING

    @property
    def begins_to_wait(self) -> bool:
        """Return whether the process waits and its dependencies were not checked yet."""
        return self.is_waiting and not self._machine.detail

    @property
    def is_ready(self) -> bool:
        """Return whether the program runs, and its readiness check passes if it has one."""
        if self._machine.phase is not m.Phase.RUNNING:
            return False
        machine = None if self._monitor is None else self._monitor.machines.get(model.READINESS)
        return machine is None or machine.state == model.PASSING

    def redefine(self, **changes: Any) -> None:
        """Change fields of the definition."""
        self.definition = msgspec.structs.replace(self.definition, **changes)

    def start(self) -> None:
        """Start the process unless it runs."""
        self._handle(machine_events.StartRequested())

    def restart(self) -> None:
        """Start the process; stop it first if it runs."""
        self._handle(machine_events.StartRequested(restart=True))

    def stop(self) -> None:
        """Begin to stop the process; `wait_stopped` returns when it has stopped."""
        self._handle(machine_events.StopRequested())

    async def wait_stopped(self) -> None:
        """Wait until the process tree is gone; raises Conflict when the process is started again before."""
        if not self._machine.idle:
            waiter: asyncio.Future[None] = self._loop.create_future()
            self._waiters.append(waiter)
            await waiter

    def signal(self, number: int) -> None:
        """Send a signal to the process group; raises Conflict when the program does not run."""
        child = self._child
        if child is None or not child.alive:
            raise Conflict(f"{self.slug} is not running: it is {self._machine.state}")
        child.signal(number)

    def advanced(self, state: str, downloaded: tuple[int, int | None] | None = None) -> None:
        """Record the progress of the preparation: its state, and (bytes received, bytes in total or None)."""
        self._downloaded = downloaded
        if self._machine.state != model.STOPPING:
            self._handle(machine_events.PreparationAdvanced(state))

    def wrote(self, data: bytes) -> None:
        """Show output of a command of the preparation."""
        self.output.write(data)

    def dependencies_checked(self, found: StartVerdict) -> None:
        """Continue a start that waits for dependencies, or give it up, according to the verdict."""
        if found.failed:
            self._handle(machine_events.DependencyFailed(found.failed))
        elif found.waits:
            self._handle(machine_events.DependenciesMissing(found.waits))
        else:
            self._handle(machine_events.DependenciesMet())

    def peer(self) -> Peer:
        """Return the process as its dependents see it."""
        machine, definition = self._machine, self.definition
        return Peer(
            slug=definition.slug,
            node=definition.node,
            process_type=definition.process_type,
            state=machine.state,
            options=self.options,
            has_started=machine.starts > 0,
            ready=self.is_ready,
            completed=definition.completed and machine.state == model.STOPPED,
            ended=machine.ended,
            end=machine.detail,
        )

    def measured(self, sample: model.Sample) -> None:
        """Record the resource use of the running program, and end it when that is above a limit."""
        self._sample = sample
        if self._limits is not None and self._limits.exceeded(sample) and self._child is not None:
            self._child.kill()

    def snapshot(self) -> model.ProcessSnapshot:
        """Return the process as it is now."""
        machine, now, options = self._machine, self._loop.time(), self._shown_options()
        failed = machine.state in model.FAILURES or machine.state == model.BACKOFF
        running = machine.pid is not None
        return model.ProcessSnapshot(
            definition=self.definition,
            state=machine.state,
            detail=machine.detail,
            output=self.output.tail(_SHOWN_LINES) if failed else [],
            downloaded=self._downloaded if machine.state == model.DOWNLOADING else None,
            pid=machine.pid,
            port=self._ready.port if self._ready else None,
            started_at=self._started_at,
            uptime=now - machine.started_at if running and machine.started_at is not None else None,
            restarts=machine.restarts,
            last_status=machine.last_status,
            next_try_at=None if machine.next_try is None else clock.now() + timedelta(seconds=machine.next_try - now),
            sample=self._sample if running else None,
            viewers=self.output.viewers,
            options=options,
            ready=self.is_ready,
            readiness=self._check_state(model.READINESS, options.readiness),
            liveness=self._check_state(model.LIVENESS, options.liveness),
            enforcement=self._enforcement(),
        )

    def _shown_options(self) -> model.Options:
        """Return the options, before the first preparation those of the request."""
        if (known := self.options) is not None:
            return known
        asked = {name: getattr(self.definition, name) for name in model.Options.__struct_fields__}
        return model.Options(**{name: value for name, value in asked.items() if value is not None})

    def _check_state(self, kind: str, check: model.HealthCheck | None) -> model.CheckState | None:
        machine = None if self._monitor is None else self._monitor.machines.get(kind)
        if check is None or machine is None:
            return None if check is None else model.CheckState(check=check, state=None)
        return model.CheckState(check=check, state=machine.state, failures=machine.failures, detail=machine.detail)

    @property
    def _child(self) -> Child | None:
        return None if self._program is None else self._program.child

    def _handle(self, event: machine_events.Event) -> None:
        """Feed the state machine an event, and carry out its actions."""
        actions = self._machine.handle(event, self._loop.time())
        if self._monitor is not None and self._machine.phase is not m.Phase.RUNNING:
            self._monitor.stop()
            self._monitor = None
        for action in actions:
            self._carry_out(action)
        self._dependencies.on_change(self)
        if self._machine.wanted or self._machine.idle:
            self._wake_waiters()

    def _wake_waiters(self) -> None:
        """End the calls of `wait_stopped`: with Conflict if the process is wanted again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if waiter.done():
                continue  # the caller was cancelled
            if self._machine.wanted:
                waiter.set_exception(Conflict(f"{self.slug} was started again before it had been stopped"))
            else:
                waiter.set_result(None)

    def _carry_out(self, action: machine_events.Action) -> None:
        tasks, child = self._dependencies.tasks, self._child
        match action:
            case machine_events.Prepare():
                self._preparation = tasks.start(f"prepare-{self.slug}", self._prepare())
                # The callback, not the coroutine, reports the end: a task that is cancelled at once never begins.
                self._preparation.add_done_callback(
                    lambda task: self._handle(
                        machine_events.PreparationFailed(model.STOPPED) if task.cancelled() else task.result()
                    )
                )
            case machine_events.CancelPreparation():
                if self._preparation is not None:
                    self._preparation.cancel()
            case machine_events.CheckDependencies():
                pass  # `on_change` leads to it
            case machine_events.Spawn():
                tasks.start(f"spawn-{self.slug}", self._spawn())
            case machine_events.Terminate():
                if child is not None:
                    child.signal(signal.SIGTERM)
            case machine_events.Kill():
                if child is not None:
                    child.kill()
            case machine_events.StartTimer():
                if self._timer is not None:
                    self._timer.cancel()
                self._timer = self._loop.call_at(action.at, self._handle, machine_events.TimerFired(action.number))
            case machine_events.Complete():
                self.redefine(wanted=False, completed=self._machine.completed)
                self._dependencies.on_completed(self.definition)
            case machine_events.ReportEvent():
                self._report(action.kind, action.text)

    def _report(self, kind: str, text: str) -> None:
        """Show an event to the viewers, log it, and publish it."""
        detail: dict[str, Any] = {}
        if kind in ("started", "restarted") and self._ready is not None:
            self._started_at = clock.now()
            detail |= {"pid": self._machine.pid, "port": self._ready.port}
            text += f", PORT={self._ready.port}"
            dependencies = self._dependencies
            unlimited = remark(
                self.definition.limits, self._enforcement(), dependencies.sample_seconds, dependencies.groups.reason
            )
            text += f"; {unlimited}" if unlimited else ""
        elif kind == "exited":
            detail["status"] = self._machine.last_status
        detail["text"] = text
        self.output.note(text)
        log.info("process", slug=self.slug, what=kind, said=text)
        self._dependencies.publish(model.ProcessEvent(slug=self.slug, at=clock.now(), kind=kind, detail=detail))

    async def _prepare(self) -> machine_events.Event:
        try:
            self._ready = ready = await self._dependencies.prepare(self.definition, self)
            if self.definition.digest != ready.digest and not self.deleted:
                self.redefine(digest=ready.digest)
                self._dependencies.on_digest(self.definition)
        except PreparationError as error:
            return machine_events.PreparationFailed(error.state, str(error))
        except Exception as error:
            log.exception("process.failed", slug=self.slug)
            return machine_events.PreparationFailed(model.UNPACK_FAILURE, f"internal error of the service: {error!r}")
        finally:
            self.output.end_line()
        return machine_events.Prepared(ready.options.restart, depends=bool(ready.options.depends_on))

    async def _spawn(self) -> None:
        assert self._ready is not None
        ready = self._ready
        limits, groups = self.definition.limits, self._dependencies.groups
        try:
            group = groups.create(limits.memory, limits.cpu, limits.tasks)
            self._limits = ProgramLimits(limits, self._enforcement(), group)
            spawner, write, write_error = self._dependencies.spawner, self.output.write, self.output.write_error
            program = await spawn(spawner, ready.argv, Path(ready.folder), ready.env, write, write_error, group=group)
        except (SpawnFailed, Unavailable) as error:
            self._release_limits()
            self._handle(machine_events.StartFailed(str(error)))
            return
        except OSError as error:
            self._release_limits()
            self._handle(machine_events.StartFailed(f"cannot start the program: {error.strerror}"))
            return
        self._program = program
        self._handle(machine_events.ProgramStarted(program.child.pid))
        if self._machine.phase is m.Phase.RUNNING and (ready.options.readiness or ready.options.liveness):
            dependencies = self._dependencies
            self._monitor = Monitor(ready, dependencies.execute, dependencies.tasks, self._check_changed)
        program.child.when_exited(self._exited)
        program.child.when_gone(self._tree_gone)

    def _check_changed(self, kind: str) -> None:
        """Report that the readiness of the program has changed, or end it when its liveness check fails."""
        assert self._monitor is not None
        machine = self._monitor.machines[kind]
        if kind == model.LIVENESS:
            if machine.state == model.FAILING:
                self._handle(machine_events.LivenessFailed(machine.detail, machine.has_passed))
            return
        if machine.state == model.PASSING:
            self._report("ready", "ready")
        else:
            self._report("not ready", f"not ready: {machine.detail}")
        self._dependencies.on_change(self)

    def _enforcement(self) -> dict[str, model.Enforcement]:
        return enforcement(self.definition.limits, self._dependencies.groups.controllers)

    def _release_limits(self) -> None:
        if self._limits is not None:
            self._limits.close()
        self._limits = None

    def _exited(self, ended: Exit) -> None:
        if self._program is not None:
            self._program.read_rest()
        self.output.end_line()
        if ended.status == 0 and self._machine.phase is m.Phase.RUNNING and self._has_descendants:
            self._lingering = self._loop.call_later(_LINGER_SECONDS, self._end_lingering), ended
        else:
            self._handle(machine_events.Exited(ended.status, self._hint(ended.status)))

    def _end_lingering(self) -> None:
        """Report the end of a program whose descendants were given time to end, unless that is done."""
        if self._lingering is not None:
            timer, ended = self._lingering
            timer.cancel()
            self._lingering = None
            left = self._has_descendants
            self._handle(machine_events.Exited(ended.status, self._hint(ended.status), left_behind=left))

    @property
    def _has_descendants(self) -> bool:
        """Return whether descendants of the program that has ended still run."""
        return self._child is not None and not self._child.is_gone

    def _hint(self, status: int | None) -> str:
        """Return the probable cause of an exit, or "" if none can be seen from outside."""
        assert self._ready is not None
        if self._limits is not None and (cause := self._limits.cause()):
            return cause
        if status == 0 and self._has_descendants:
            return _LEFT_BEHIND
        if status in _NOT_FOUND_STATUSES:
            for program in programs(self._ready.argv):
                if hint := interpreter_hint(program, Path(self._ready.folder)):
                    return f"{program}: {hint}"
        return ""

    def _tree_gone(self, child: Child) -> None:
        self._end_lingering()
        if self._program is not None:
            self._program.close()
        self.output.end_line()
        self._program = self._sample = None
        self._release_limits()
        self._handle(machine_events.TreeGone())
