"""Runs the commands that clients call."""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from smartmob.commands import model
from smartmob.commands.call import CallContext, CommandServices, InlineReplySink, ReplySink
from smartmob.commands.call_numbers import CallNumbers
from smartmob.commands.model import Job, Outcome
from smartmob.commands.output_reader import OutputReader
from smartmob.commands.registry import Command, ExecutionMode, Registry
from smartmob.commands.running_job import RunningJob
from smartmob.commands.session import ClientSession
from smartmob.commands.supervisor import JobSupervisor, QueueControls
from smartmob.errors import NotFound, SmartmobError
from smartmob.kernel.audit import recorded_calls
from smartmob.kernel.audit.events import CommandCalled
from smartmob.kernel.auth.reservation_guard import ReservationGuard
from smartmob.kernel.runtime import clock

Arguments = tuple[Sequence[Any], Mapping[str, Any]]
"""The arguments of a call: by position and by name."""

_MOST_KEYS_COUNT = 10_000
"""The most keys of calls that are remembered; the oldest are forgotten first."""
_LONGEST_WORD_CHARACTERS = 200
"""Characters of an argument that are shown in the record of a job that is a function."""


class CallRunner:
    """Runs commands to their ends and reports to the sink of each call."""

    def __init__(
        self,
        registry: Registry,
        numbers: CallNumbers,
        supervisor: JobSupervisor,
        output: OutputReader,
        services: CommandServices,
        *,
        guard: ReservationGuard | None = None,
    ) -> None:
        self._guard = guard or ReservationGuard()
        self._registry = registry
        self._numbers = numbers
        self._supervisor = supervisor
        self._output = output
        self._services = services
        self._jobs_by_key: dict[str, int] = {}

    def check(self, name: str, arguments: Arguments) -> None:
        """Raise NotFound for an unknown command, InvalidInput for arguments that it does not accept.

        Raises Conflict when another client has reserved the machine.
        """
        self._registry.find(name).bind(*arguments, native=False)
        self._guard.check_call(name)

    async def run(
        self,
        session: ClientSession,
        name: str,
        arguments: Arguments,
        sink: ReplySink,
        *,
        native: bool = False,
        key: str | None = None,
    ) -> None:
        """Run a command to its end, and report everything to `sink`, errors included.

        A job goes on when this is cancelled. A background command that was called before with the same `key` is not run
        again; instead, the output of its job is sent from the beginning. `native` arguments are Python values, others
        are JSON values.
        """
        number = await self._numbers.next()
        try:
            command = self._registry.find(name)
            values = command.bind(*arguments, native=native)
            self._guard.check_call(name)
        except SmartmobError as error:
            sink.acknowledge(number, job=False)
            sink.finish(Outcome(exit_code=model.ERROR, error=error))
            return
        if command.background:
            self._publish(session, name, arguments, f"job {number}")
        try:
            if command.background:
                outcome = await self._run_in_background(number, session, command, values, sink, key)
            else:
                outcome = await self._run_in_foreground(number, session, command, values, sink)
        except Exception as error:
            outcome = Outcome(exit_code=model.ERROR, error=error)
        if not command.background:
            self._publish(session, name, arguments, f"exit code {outcome.exit_code}")
        sink.finish(outcome)

    def _publish(self, session: ClientSession, name: str, arguments: Arguments, outcome: str) -> None:
        if recorded_calls.is_recorded(name):
            words = recorded_calls.words(name, arguments[0], dict(arguments[1]))
            self._supervisor.publish_call(CommandCalled(name, words, session.client, outcome))

    def run_inline(self, session: ClientSession, name: str, arguments: Arguments, sink: InlineReplySink) -> bool:
        """Run a command that never waits; return False, having done nothing, for any other command."""
        try:
            command = self._registry.find(name)
        except NotFound:
            return False
        if command.mode is not ExecutionMode.INLINE:
            return False
        try:
            values = command.bind(*arguments, native=False)
            # An inline command never waits, so it uses only those methods of a sink that an InlineReplySink has.
            call = CallContext(0, session, cast(ReplySink, sink), self._services)
            outcome = Outcome(exit_code=command.function(call, **values) or model.SUCCESS)
        except Exception as error:
            outcome = Outcome(exit_code=model.ERROR, error=error)
        sink.finish(outcome)
        return True

    async def refuse(self, sink: ReplySink, error: Exception) -> None:
        """Report to `sink` that a call failed before its command was known."""
        sink.acknowledge(await self._numbers.next(), job=False)
        sink.finish(Outcome(exit_code=model.ERROR, error=error))

    async def _run_in_foreground(
        self, number: int, session: ClientSession, command: Command, values: dict[str, Any], sink: ReplySink
    ) -> Outcome:
        sink.acknowledge(number, job=False)
        call = CallContext(number, session, sink, self._services)
        result: Any
        if command.mode is ExecutionMode.THREAD:
            call.allow_threads(asyncio.get_running_loop())
            try:
                result = await asyncio.to_thread(command.function, call, **values)
            finally:
                call.leave()
        elif command.mode is ExecutionMode.LOOP:
            result = await command.function(call, **values)
        else:
            result = command.function(call, **values)
        return result if isinstance(result, Outcome) else Outcome(exit_code=_exit_code(result))

    async def _run_in_background(
        self,
        number: int,
        session: ClientSession,
        command: Command,
        values: dict[str, Any],
        sink: ReplySink,
        key: str | None,
    ) -> Outcome:
        apart = bool(values.get("apart"))
        earlier = self._jobs_by_key.get(key) if key is not None else None
        if earlier is not None:
            sink.acknowledge(earlier, job=True)
            return await self._output.follow(earlier, 0, sink, hold=True, apart=apart)
        if key is not None:
            self._remember(key, number)
        record = _record(number, session, command, values)
        starting = self._supervisor.start(record, lambda job: self._run_job(job, session, command, values, sink))
        try:
            # Shielded: a client that disconnects now can find its job again by the key or in the list of jobs.
            job = await asyncio.shield(self._services.tasks.start(f"job-{number}-start", starting))
        except Exception:
            self._jobs_by_key.pop(key or "", None)
            sink.acknowledge(number, job=False)
            raise
        sink.acknowledge(number, job=True)
        return await self._output.follow_running(job, 0, sink, hold=True, apart=apart)

    async def _run_job(
        self, job: RunningJob, session: ClientSession, command: Command, values: dict[str, Any], sink: ReplySink
    ) -> Outcome:
        call = CallContext(job.record.id, session, sink, self._services, job)
        if command.returns_outcome:
            outcome: Outcome = await command.function(call, **values)
            return outcome
        messages: Any = asyncio.Queue() if command.mode is ExecutionMode.LOOP else queue.SimpleQueue()
        job.set_controls(QueueControls(messages))
        if command.mode is ExecutionMode.LOOP:
            return Outcome(exit_code=_exit_code(await command.function(call, messages, **values)))
        call.allow_threads(asyncio.get_running_loop())
        return Outcome(
            exit_code=_exit_code(await _in_daemon_thread(lambda: command.function(call, messages, **values)))
        )

    def _remember(self, key: str, number: int) -> None:
        self._jobs_by_key[key] = number
        if len(self._jobs_by_key) > _MOST_KEYS_COUNT:
            del self._jobs_by_key[next(iter(self._jobs_by_key))]


def _record(number: int, session: ClientSession, command: Command, values: Mapping[str, Any]) -> Job:
    """Return the record of a new job. PostgreSQL's texts cannot contain NUL, so it is replaced."""
    cmd, env, cwd = (values.get(name) for name in ("cmd", "env", "cwd"))
    argv = [cmd] if isinstance(cmd, str) else cmd if isinstance(cmd, list) else _shown(command.name, values)
    return Job(
        id=number,
        command=command.name,
        argv=[word.replace("\0", "\ufffd") for word in argv],
        cwd=str(session.path(cwd) if isinstance(cwd, str) else session.cwd).replace("\0", "\ufffd"),
        env_names=sorted(name.replace("\0", "\ufffd") for name in env) if isinstance(env, dict) else [],
        client=session.client,
        state=model.RUNNING,
        started_at=clock.now(),
        apart=values.get("apart") is True,
    )


def _shown(name: str, values: Mapping[str, Any]) -> list[str]:
    return [name, *(f"{key}={value!r}"[:_LONGEST_WORD_CHARACTERS] for key, value in values.items())]


def _exit_code(result: object) -> int:
    return result if isinstance(result, int) else model.SUCCESS


async def _in_daemon_thread(function: Callable[[], Any]) -> Any:
    """Return the result of `function` in a thread that may run for hours and does not keep the process alive."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[Any] = loop.create_future()

    def set_outcome(result: Any, error: BaseException | None) -> None:
        if done.done():
            return
        if error is None:
            done.set_result(result)
        else:
            done.set_exception(error)

    def run() -> None:
        result, failed = None, None
        try:
            result = function()
        except BaseException as error:
            failed = error
        if not loop.is_closed():
            loop.call_soon_threadsafe(set_outcome, result, failed)

    threading.Thread(target=run, daemon=True).start()
    return await done
