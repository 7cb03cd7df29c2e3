"""Runs a program in the prepared folder of an application, as a job."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from pathlib import Path
from typing import Protocol

import msgspec

from smartmob.commands import model
from smartmob.commands.model import Outcome, ProgramSource, Terminal
from smartmob.commands.program import Program, ProgramSpec
from smartmob.commands.running_job import RunningJob
from smartmob.errors import Conflict
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.child import Child
from smartmob.kernel.subprocesses.control_groups import ControlGroup
from smartmob.kernel.subprocesses.spawner import Spawner

_TERM = 15
"""The number of SIGTERM (POSIX.1-2017, XCU kill)."""


class PreparedProgram(Protocol):
    """A program that can be started in its folder. `grace` is in seconds."""

    @property
    def argv(self) -> Sequence[str]:
        """Return the arguments."""

    @property
    def env(self) -> Mapping[str, str]:
        """Return the whole environment."""

    @property
    def folder(self) -> Path:
        """Return the working directory."""

    @property
    def grace(self) -> float:
        """Return the seconds between SIGTERM and SIGKILL."""

    @property
    def group(self) -> ControlGroup | None:
        """Return the control group of the program, if it has limits that one enforces."""

    def started(self, child: Child) -> None:
        """Record that the program has started."""

    def cause(self) -> str:
        """Return the limit by which the program was ended, or ""."""


class ProgramPreparation(Protocol):
    """The feature that prepares folders of applications."""

    def prepared(
        self, source: ProgramSource, command: str, env: Mapping[str, str], on_output: Callable[[bytes], None]
    ) -> AbstractAsyncContextManager[PreparedProgram]:
        """Prepare a program, and release its folder at the end of the block.

        `on_output` is called with the output of the programs of the preparation, and must not raise. Raises
        SmartmobError.
        """


class PreparedRun:
    """One run of a program that is prepared first. It controls the job from the beginning of the preparation.

    `options` are those of `ProgramSpec` that the preparation does not know. Call `run` once.
    """

    def __init__(
        self,
        prepare: Callable[[Callable[[bytes], None]], AbstractAsyncContextManager[PreparedProgram]],
        spawner: Spawner,
        tasks: TaskRegistry,
        *,
        timeout: float | None,
        stdin: bytes | None,
        terminal: Terminal | None,
        apart: bool,
    ) -> None:
        self._prepare = prepare
        self._spawner = spawner
        self._tasks = tasks
        self._timeout = timeout
        self._stdin = stdin
        self._terminal = terminal
        self._apart = apart
        self._preparing: asyncio.Timeout | None = None
        self._signal = 0  # the signal that was sent before the program ran
        self._program: Program | None = None
        self._prepared = asyncio.Event()  # the program runs, or will not
        self._input_ended = False

    async def run(self, job: RunningJob) -> Outcome:
        """Prepare the program, and run it to its end; raises SmartmobError, and SpawnFailed."""
        try:
            async with AsyncExitStack() as stack:
                try:
                    async with asyncio.timeout(None) as self._preparing:
                        job.set_controls(self)
                        prepared = await stack.enter_async_context(self._prepare(lambda data: self._show(job, data)))
                except TimeoutError:
                    if not self._signal:
                        raise
                    return Outcome(exit_code=-self._signal, state=model.SIGNALED, signal=self._signal)
                finally:
                    self._preparing = None
                job.record = msgspec.structs.replace(job.record, cwd=str(prepared.folder))
                outcome = await self._run(job, prepared)
                if cause := prepared.cause():
                    await job.append_and_wait(self._text(f"smartmob: {cause}\n".encode()), self._stream)
                return outcome
        finally:
            self._prepared.set()

    async def _run(self, job: RunningJob, prepared: PreparedProgram) -> Outcome:
        spec = ProgramSpec(
            argv=prepared.argv,
            cwd=prepared.folder,
            env=prepared.env,
            timeout=self._timeout,
            grace=prepared.grace,
            stdin=self._stdin,
            terminal=self._terminal,
            apart=self._apart,
            group=prepared.group,
        )

        def started(child: Child) -> None:
            prepared.started(child)
            self._program = program
            self._prepared.set()
            if self._signal:
                program.signal(self._signal)
            if self._input_ended:
                program.end_input()

        program = Program(spec, self._spawner, self._tasks, started)
        return await program.run(job)

    def signal(self, number: int) -> None:
        """Send a signal to the program; it ends the preparation."""
        if self._program is not None:
            self._program.signal(number)
            return
        self._signal = number
        if self._preparing is not None:
            self._preparing.reschedule(asyncio.get_running_loop().time())

    def kill(self) -> None:
        """Ask the program to end, and kill it when it does not within its grace; it ends the preparation."""
        if self._program is not None:
            self._program.kill()
        else:
            self.signal(_TERM)

    async def write(self, data: bytes) -> None:
        """Write to the program's input once it runs; raises Conflict when it accepts none."""
        await self._prepared.wait()
        if self._program is None:
            raise Conflict("the job takes no more input")
        await self._program.write(data)

    def end_input(self) -> None:
        """Report the end of the input."""
        self._input_ended = True
        if self._program is not None:
            self._program.end_input()

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the terminal; raises Conflict without one."""
        if self._program is not None:
            self._program.resize(rows, columns)
        elif self._terminal is None:
            raise Conflict("this job has no terminal")
        else:
            self._terminal = Terminal(rows, columns)

    @property
    def _stream(self) -> int:
        return model.STDERR if self._apart else model.STDOUT

    def _show(self, job: RunningJob, data: bytes) -> None:
        """Add output of the preparation; output that does not fit on the disk is dropped."""
        with suppress(OSError):
            job.append(self._text(data), self._stream)

    def _text(self, data: bytes) -> bytes:
        """Return text with the line ends that a terminal needs."""
        return data if self._terminal is None else data.replace(b"\n", b"\r\n")
