"""Runs a program as a job: on pipes or on a terminal, with its input, its time limit and the end of its descendants."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import signal
import struct
import termios
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from smartmob.commands import model
from smartmob.commands.model import Outcome, Terminal
from smartmob.commands.running_job import RunningJob
from smartmob.errors import Conflict
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.child import Child, Exit, Spec
from smartmob.kernel.subprocesses.control_groups import ControlGroup
from smartmob.kernel.subprocesses.spawner import Spawner

_PIPE_BYTES = 1024 * 1024
_READ_BYTES = 256 * 1024
_DESCENDANTS_SECONDS = 2.0
"""Seconds that the descendants of a program may go on to write after it has ended; then they are killed."""
_END_OF_TRANSMISSION = b"\x04"
"""CTRL-D, which ends the input of a terminal."""


class ProgramSpec(msgspec.Struct, frozen=True):
    """A program and how to run it.

    `timeout` and `grace` are seconds; `stdin` is the whole input, None leaves the input open; `terminal` is the size of
    a pseudo-terminal, None means pipes. With `apart`, standard output and standard error are two pipes; if both have
    output at the same time, its order is that of reading.
    """

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    timeout: float | None
    grace: float
    stdin: bytes | None
    terminal: Terminal | None
    apart: bool = False
    group: ControlGroup | None = None


class Program:
    """One run of a program. Call `run` once; the other methods are the controls of the job."""

    def __init__(
        self,
        spec: ProgramSpec,
        spawner: Spawner,
        tasks: TaskRegistry,
        on_start: Callable[[Child], None] | None = None,
    ) -> None:
        self._spec = spec
        self._spawner = spawner
        self._tasks = tasks
        self._on_start = on_start
        self._child: Child | None = None
        self._stopping: asyncio.Task[Exit] | None = None
        self._output: _OutputPipe | None = None
        self._errors: _OutputPipe | None = None
        self._input: _InputPipe | None = None

    async def run(self, job: RunningJob) -> Outcome:
        """Run the program as `job` to its end; raises SpawnFailed when it cannot be started."""
        child = await self._start()
        job.record = msgspec.structs.replace(job.record, pid=child.pid)
        job.set_controls(self)
        reading = self._tasks.start(f"job-{job.record.id}-output", self._read(job))
        if self._on_start is not None:
            self._on_start(child)
        if self._spec.stdin is not None:
            self._tasks.start(f"job-{job.record.id}-input", self._write_all(self._spec.stdin))
        try:
            timed_out = await self._wait_for_end(child)
            with suppress(TimeoutError):
                async with asyncio.timeout(_DESCENDANTS_SECONDS):
                    await asyncio.shield(reading)
            # A job ends with its program: descendants that are left are killed now, which also ends the output.
            child.kill()
            await child.gone()
            await reading
        finally:
            child.kill()
            reading.cancel()
            self._close()
        return self._outcome(job, await child.exited(), timed_out=timed_out)

    def signal(self, number: int) -> None:
        """Send a signal to the program's process group."""
        if self._child is not None:
            self._child.signal(number)

    def kill(self) -> None:
        """Ask the program to end by SIGTERM, and kill it with its descendants when it does not within its grace."""
        if self._stopping is None and self._child is not None:
            stop = self._child.stop(signal.SIGTERM, self._spec.grace)
            self._stopping = self._tasks.start(f"stop-{self._child.pid}", stop)

    async def write(self, data: bytes) -> None:
        """Write to the program's input; raises Conflict when the input is closed."""
        if self._input is None:
            raise Conflict("the job takes no more input")
        await self._input.write(data)

    def end_input(self) -> None:
        """Close the program's input; on a terminal, type CTRL-D instead."""
        if self._input is None:
            return
        if self._spec.terminal is not None:
            self._input.type(_END_OF_TRANSMISSION)
        else:
            self._input.close()
            self._input = None

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the terminal; raises Conflict without one."""
        if self._spec.terminal is None or self._output is None:
            raise Conflict("this job has no terminal")
        _set_size(self._output.fd, rows, columns)

    async def _start(self) -> Child:
        _check(self._spec)
        try:
            if self._spec.terminal is not None:
                return await self._start_on_terminal(self._spec.terminal)
            return await self._start_on_pipes()
        except BaseException:
            self._close()
            raise

    async def _start_on_pipes(self) -> Child:
        stdin, own_end = os.pipe2(os.O_CLOEXEC)
        self._input = _InputPipe(own_end)
        try:
            self._output, stdout = _output_pipe()
            stderr = stdout
            try:
                if self._spec.apart:
                    self._errors, stderr = _output_pipe()
                return await self._spawn((stdin, stdout, stderr), "")
            finally:
                for end in {stdout, stderr}:
                    os.close(end)
        finally:
            os.close(stdin)

    async def _start_on_terminal(self, terminal: Terminal) -> Child:
        own_end, program_end = os.openpty()
        self._output = _OutputPipe(own_end)
        try:
            _set_size(own_end, terminal.rows, terminal.columns)
            self._input = _InputPipe(os.dup(own_end))
            return await self._spawn((program_end, program_end, program_end), os.ttyname(program_end))
        finally:
            os.close(program_end)

    async def _spawn(self, fds: tuple[int, int, int], terminal: str) -> Child:
        stdin, stdout, stderr = fds
        given = self._spec
        program = Spec(given.argv, given.env, given.cwd, stdin, stdout, stderr, terminal=terminal, group=given.group)
        self._child = await self._spawner.spawn(program)
        return self._child

    async def _wait_for_end(self, child: Child) -> bool:
        """Wait until the program has ended; return whether it was stopped by its time limit."""
        try:
            async with asyncio.timeout(self._spec.timeout):
                await child.exited()
        except TimeoutError:
            self.kill()
            await child.exited()
            return True
        return False

    async def _read(self, job: RunningJob) -> None:
        async def read(pipe: _OutputPipe, stream: int) -> None:
            async for data in pipe.chunks():
                await job.append_and_wait(data, stream)

        assert self._output is not None
        if self._errors is None:
            await read(self._output, model.STDOUT)
        else:
            async with asyncio.TaskGroup() as group:
                group.create_task(read(self._output, model.STDOUT))
                group.create_task(read(self._errors, model.STDERR))

    async def _write_all(self, data: bytes) -> None:
        if self._input is not None:
            await self._input.write(data)
            self.end_input()

    def _close(self) -> None:
        for pipe in (self._input, self._output, self._errors):
            if pipe is not None:
                pipe.close()
        self._input = None

    @staticmethod
    def _outcome(job: RunningJob, exited: Exit, *, timed_out: bool) -> Outcome:
        job.record = msgspec.structs.replace(
            job.record, user_seconds=exited.user_time, system_seconds=exited.system_time, max_rss=exited.max_memory
        )
        signal = -exited.status if exited.status is not None and exited.status < 0 else None
        state = model.TIMED_OUT if timed_out else model.EXITED if signal is None else model.SIGNALED
        return Outcome(exit_code=exited.status, state=state, signal=signal)


class _OutputPipe:
    """Our end of a pipe or terminal to which the program writes.

    It is read only as fast as the job can store it, so a full disk or a slow reader that must not miss anything blocks
    the program, and no byte is lost. (`Spawner` has its own reader, which drops output instead of waiting.)
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.set_blocking(fd, False)
        self._readable: asyncio.Future[None] | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the output until its end."""
        while self.fd >= 0:
            try:
                data = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                await self._wait()
                continue
            except OSError as error:
                if error.errno != errno.EIO:  # the end of a terminal, see pty(7)
                    raise
                return
            if not data:
                return
            yield data

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._readable = loop.create_future()
        loop.add_reader(self.fd, self._wake)
        await self._readable

    def _wake(self) -> None:
        asyncio.get_running_loop().remove_reader(self.fd)
        if self._readable is not None and not self._readable.done():
            self._readable.set_result(None)

    def close(self) -> None:
        """Close our end; `chunks` then ends."""
        if self.fd >= 0:
            self._wake()
            os.close(self.fd)
            self.fd = -1


def _output_pipe() -> tuple[_OutputPipe, int]:
    """Return our end of a new large pipe, and the end of the program."""
    ours, theirs = os.pipe2(os.O_CLOEXEC)
    with suppress(OSError):  # it keeps its size when the user's limit for pipes is reached
        fcntl.fcntl(ours, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return _OutputPipe(ours), theirs


class _InputPipe:
    """Our end of a pipe or terminal from which the program reads."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)
        self._lock = asyncio.Lock()
        self._writable: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """Write all of `data`; raises Conflict when the program has closed its input."""
        async with self._lock:
            rest = memoryview(data)
            while rest:
                if self._fd < 0:
                    raise Conflict("the job takes no more input")
                try:
                    rest = rest[os.write(self._fd, rest) :]
                except BlockingIOError:
                    await self._wait()
                except OSError:
                    raise Conflict("the job takes no more input") from None

    def type(self, data: bytes) -> None:
        """Write a few bytes unless the terminal's buffer is full."""
        with suppress(OSError):
            os.write(self._fd, data)

    async def _wait(self) -> None:
        loop = asyncio.get_running_loop()
        self._writable = loop.create_future()
        loop.add_writer(self._fd, self._wake)
        await self._writable

    def _wake(self) -> None:
        asyncio.get_running_loop().remove_writer(self._fd)
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)

    def close(self) -> None:
        """Close our end."""
        if self._fd >= 0:
            self._wake()
            os.close(self._fd)
            self._fd = -1


def _check(spec: ProgramSpec) -> None:
    """Raise an OSError whose class says why the program cannot be started, if that can be found out beforehand."""
    if not spec.cwd.is_dir():
        number = errno.ENOTDIR if spec.cwd.exists() else errno.ENOENT
        raise OSError(number, os.strerror(number), str(spec.cwd))
    if not os.access(spec.cwd, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(spec.cwd))
    program = spec.argv[0]
    path = os.path.join(spec.cwd, program) if "/" in program else program
    if shutil.which(path, path=spec.env.get("PATH", os.defpath)) is None:
        number = errno.EACCES if "/" in program and os.path.exists(path) else errno.ENOENT
        raise OSError(number, os.strerror(number), program)


def _set_size(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
