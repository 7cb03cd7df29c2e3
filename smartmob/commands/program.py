"""A program that runs as a job: its pipes or its terminal, its input, its time limit, and its end."""

from __future__ import annotations

import asyncio
import errno
import fcntl
import os
import shutil
import signal
import struct
import termios
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from smartmob.commands import model
from smartmob.commands.model import Outcome, Terminal
from smartmob.commands.supervisor import RunningJob
from smartmob.errors import Conflict
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.child import Child, Exit, Spec
from smartmob.kernel.subprocesses.spawner import Spawner

_PIPE_BYTES = 1024 * 1024
_READ_BYTES = 256 * 1024
_LEFT_BEHIND_SECONDS = 2.0
"""How long what a program leaves behind may go on to write before it is ended."""


@dataclass(frozen=True, slots=True)
class ProgramSpec:
    """What to run and how; `timeout` and `grace` are seconds, `given` is the whole input, None leaves it open."""

    argv: Sequence[str]
    cwd: Path
    env: Mapping[str, str]
    timeout: float | None
    grace: float
    given: bytes | None
    terminal: Terminal | None


class Program:
    """One program as it runs. `run` it once; the other methods are the job's controls."""

    def __init__(self, plan: ProgramSpec, spawner: Spawner, tasks: TaskRegistry) -> None:
        self._plan = plan
        self._spawner = spawner
        self._tasks = tasks
        self._child: Child | None = None
        self._stopping: asyncio.Task[Exit] | None = None
        self._output: _Source | None = None
        self._input: _Drain | None = None

    async def run(self, job: RunningJob) -> Outcome:
        """Run the program as `job` to its end; raises SpawnFailed when it cannot be started."""
        started = await self._start()
        job.record = msgspec.structs.replace(job.record, pid=started.pid)
        job.control_by(self)
        reading = self._tasks.start(f"job-{job.record.id}-output", self._read(job))
        if self._plan.given is not None:
            self._tasks.start(f"job-{job.record.id}-input", self._give(self._plan.given))
        try:
            timed_out = await self._ended(started)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LEFT_BEHIND_SECONDS):
                    await asyncio.shield(reading)
            # A job ends with its program: what it has left behind ends now, and with it the output.
            started.kill()
            await started.gone()
            await reading
        finally:
            started.kill()
            reading.cancel()
            self._close()
        return self._outcome(job, await started.exited(), timed_out=timed_out)

    def signal(self, number: int) -> None:
        """Send a signal to the program's group."""
        if self._child is not None:
            self._child.signal(number)

    def kill(self) -> None:
        """Ask the program to end, and end it with all its descendants when it does not within its grace."""
        if self._stopping is None and self._child is not None:
            stop = self._child.stop(signal.SIGTERM, self._plan.grace)
            self._stopping = self._tasks.start(f"stop-{self._child.pid}", stop)

    async def write(self, data: bytes) -> None:
        """Give the program input; raises Conflict when it takes none any more."""
        if self._input is None:
            raise Conflict("the job takes no more input")
        await self._input.write(data)

    def end_input(self) -> None:
        """Close the program's input; on a terminal, type what stands for that."""
        if self._input is None:
            return
        if self._plan.terminal is not None:
            self._input.type(b"\x04")
        else:
            self._input.close()
            self._input = None

    def resize(self, rows: int, columns: int) -> None:
        """Change the size of the terminal; raises Conflict without one."""
        if self._plan.terminal is None or self._output is None:
            raise Conflict("this job has no terminal")
        _set_size(self._output.fd, rows, columns)

    async def _start(self) -> Child:
        _check(self._plan)
        try:
            if self._plan.terminal is not None:
                return await self._start_on_terminal(self._plan.terminal)
            return await self._start_on_pipes()
        except BaseException:
            self._close()
            raise

    async def _start_on_pipes(self) -> Child:
        stdin, ours = os.pipe2(os.O_CLOEXEC)
        self._input = _Drain(ours)
        try:
            output, stdout = os.pipe2(os.O_CLOEXEC)
            self._output = _Source(output)
            try:
                with suppress(OSError):  # beyond the user's limit it stays as small as it is
                    fcntl.fcntl(output, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
                return await self._spawn((stdin, stdout, stdout), "")
            finally:
                os.close(stdout)
        finally:
            os.close(stdin)

    async def _start_on_terminal(self, terminal: Terminal) -> Child:
        ours, theirs = os.openpty()
        self._output = _Source(ours)
        try:
            _set_size(ours, terminal.rows, terminal.columns)
            self._input = _Drain(os.dup(ours))
            return await self._spawn((theirs, theirs, theirs), os.ttyname(theirs))
        finally:
            os.close(theirs)

    async def _spawn(self, fds: tuple[int, int, int], terminal: str) -> Child:
        plan = self._plan
        self._child = await self._spawner.spawn(Spec(plan.argv, plan.env, plan.cwd, *fds, terminal=terminal))
        return self._child

    async def _ended(self, child: Child) -> bool:
        """Return once the program has ended, and whether that was because its time was up."""
        try:
            async with asyncio.timeout(self._plan.timeout):
                await child.exited()
        except TimeoutError:
            self.kill()
            await child.exited()
            return True
        return False

    async def _read(self, job: RunningJob) -> None:
        assert self._output is not None
        async for data in self._output.chunks():
            await job.keep(data)

    async def _give(self, data: bytes) -> None:
        if self._input is not None:
            await self._input.write(data)
            self.end_input()

    def _close(self) -> None:
        for pipe in (self._input, self._output):
            if pipe is not None:
                pipe.close()
        self._input = None

    @staticmethod
    def _outcome(job: RunningJob, exited: Exit, *, timed_out: bool) -> Outcome:
        job.record = msgspec.structs.replace(
            job.record, user_seconds=exited.user_time, system_seconds=exited.system_time, max_rss=exited.max_memory
        )
        state = model.SIGNALED if exited.status is not None and exited.status < 0 else model.EXITED
        return Outcome(exit_code=exited.status, state=model.TIMED_OUT if timed_out else state)


class _Source:
    """The end of a pipe or terminal that is read, only as fast as the job can keep it.

    The kernel's reader of children never waits: what nobody wants is thrown away there. Of a job nothing is, so
    a client that does not read must hold its program up in the end.
    """

    def __init__(self, fd: int) -> None:
        self.fd = fd
        os.set_blocking(fd, False)
        self._readable: asyncio.Future[None] | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield what comes until the end."""
        while self.fd >= 0:
            try:
                data = os.read(self.fd, _READ_BYTES)
            except BlockingIOError:
                await self._wait()
                continue
            except OSError as error:
                if error.errno != errno.EIO:  # which is how the end of a terminal is told
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
        """Close it; who reads gets the end."""
        if self.fd >= 0:
            self._wake()
            os.close(self.fd)
            self.fd = -1


class _Drain:
    """The end of a pipe or terminal that is written."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        os.set_blocking(fd, False)
        self._one = asyncio.Lock()
        self._writable: asyncio.Future[None] | None = None

    async def write(self, data: bytes) -> None:
        """Write all of `data`; raises Conflict when nobody reads any more."""
        async with self._one:
            view = memoryview(data)
            while view:
                if self._fd < 0:
                    raise Conflict("the job takes no more input")
                try:
                    view = view[os.write(self._fd, view) :]
                except BlockingIOError:
                    await self._wait()
                except OSError:
                    raise Conflict("the job takes no more input") from None

    def type(self, data: bytes) -> None:
        """Write a few bytes if there is room."""
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
        """Close it."""
        if self._fd >= 0:
            self._wake()
            os.close(self._fd)
            self._fd = -1


def _check(plan: ProgramSpec) -> None:
    """Raise the OSError that tells by its class why the program cannot be started, where that can be seen before."""
    if not plan.cwd.is_dir():
        number = errno.ENOTDIR if plan.cwd.exists() else errno.ENOENT
        raise OSError(number, os.strerror(number), str(plan.cwd))
    if not os.access(plan.cwd, os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(plan.cwd))
    program = plan.argv[0]
    where = str(plan.cwd / program) if "/" in program else program
    if shutil.which(where, path=plan.env.get("PATH", os.defpath)) is None:
        number = errno.EACCES if "/" in program and os.path.exists(where) else errno.ENOENT
        raise OSError(number, os.strerror(number), program)


def _set_size(fd: int, rows: int, columns: int) -> None:
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
