"""A program that runs under a subreaper, with all its descendants: its specification, its states and its end.

States of a child, by the messages that its subreaper sends on the child's control socket:

| Message | State | Waited for by |
|---|---|---|
| (none yet) | the order to start it was sent | |
| `started` | the program runs | `Child.started` |
| `failed` | the program could not be started; the child is gone | `Child.started` raises SpawnFailed |
| `exited` | the program has ended; descendants may still run | `Child.exited` |
| `gone` | no descendant is left | `Child.gone` |
| end of file before `gone` | the subreaper was killed; the watchdog kills what is left, then the child is gone | |
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import msgspec

from smartmob.errors import SmartmobError
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.control_groups import ControlGroup
from smartmob.kernel.subprocesses.subreaper import LONGEST_SPEC_BYTES

log = get_logger()


class SpawnFailed(SmartmobError):
    """The program could not be started. `number` is the error of the system, 0 when there is none."""

    def __init__(self, message: str = "", number: int = 0) -> None:
        super().__init__(message)
        self.number = number


class Spec(msgspec.Struct, frozen=True):
    """The specification of a program to start.

    `argv[0]` without a slash is searched in the PATH of `env`. The program inherits the open descriptors `stdin`,
    `stdout` and `stderr`, which stay the caller's to close. With `terminal`, the path of a pseudo-terminal's slave,
    it gets that terminal for all three and as its controlling terminal. With `group` the program and its descendants
    are in that control group.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    stdin: int
    stdout: int
    stderr: int
    terminal: str = ""
    group: ControlGroup | None = None

    def encode(self) -> bytes:
        """Return the specification as a subreaper reads it.

        Raises SpawnFailed if the system cannot pass a text to a program, or if the specification is too large.
        """
        groups = ("", "") if self.group is None else (str(self.group.folder), str(self.group.home))
        texts = [str(self.cwd), self.terminal, *groups, str(len(self.argv)), *self.argv]
        texts += map("=".join, self.env.items())
        if not self.argv or not self.argv[0]:
            raise SpawnFailed("there is no program to start")
        joined = "\0".join(texts)
        if joined.count("\0") != len(texts) - 1:
            raise SpawnFailed("a program's arguments, folder and environment cannot contain the NUL character")
        if "" in self.env or "=" in "".join(self.env):
            raise SpawnFailed("the name of an environment variable is empty or contains '='")
        try:
            data = os.fsencode(joined) + b"\0"
        except UnicodeEncodeError:
            raise SpawnFailed("a program's arguments, folder and environment cannot contain half a character") from None
        if len(data) > LONGEST_SPEC_BYTES:
            raise SpawnFailed(f"cannot start the program: {os.strerror(errno.E2BIG)}")
        return len(data).to_bytes(4, "big") + data


class Exit(msgspec.Struct, frozen=True):
    """The end of a program.

    `status` is its exit status, the negative number of the signal that ended it, or None when it is unknown because the
    subreaper was killed. Times are in seconds and `max_memory` in bytes, each for the program and the descendants that
    it waited for.
    """

    status: int | None
    user_time: float = 0.0
    system_time: float = 0.0
    max_memory: int = 0


class Child:
    """A program with all its descendants. It needs no `wait` by the caller: its subreaper reaps it."""

    def __init__(
        self, control: socket.socket, reap: Callable[[int, int], Awaitable[None]], tasks: TaskRegistry
    ) -> None:
        self.pid = 0
        self._subreaper_pid = 0
        self._control = control
        self._reap = reap
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._started: asyncio.Future[SpawnFailed | None] = self._loop.create_future()
        self._exited: asyncio.Future[Exit] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(control.fileno(), self._read)

    @property
    def alive(self) -> bool:
        """Return whether the program itself still runs. Descendants may outlive it."""
        return not self._exited.done()

    @property
    def is_gone(self) -> bool:
        """Return whether the program and all its descendants have ended."""
        return self._gone.done()

    async def started(self) -> None:
        """Wait until the program runs; raises SpawnFailed."""
        error = await asyncio.shield(self._started)
        if error is not None:
            raise error

    async def exited(self) -> Exit:
        """Wait until the program has ended, and return how."""
        return self._exited.result() if self._exited.done() else await asyncio.shield(self._exited)

    async def gone(self) -> None:
        """Wait until the program and all its descendants have ended."""
        if not self._gone.done():
            await asyncio.shield(self._gone)

    def when_exited(self, callback: Callable[[Exit], object]) -> None:
        """Call `callback` with the exit when the program has ended."""
        self._exited.add_done_callback(lambda future: callback(future.result()))

    def when_gone(self, callback: Callable[[Child], object]) -> None:
        """Call `callback` with this child when it is gone."""
        self._gone.add_done_callback(lambda _: callback(self))

    def signal(self, number: int) -> None:
        """Send a signal to the program's process group.

        After the program has ended, the signal goes to each descendant that is left.
        """
        self._send_order(f"signal {int(number)}\n")

    def kill(self) -> None:
        """Kill the program and all its descendants. Returns at once; `gone` waits for the end."""
        self._send_order("kill\n")

    async def stop(self, number: int, grace: float) -> Exit:
        """Send signal `number`, after `grace` seconds kill what is left; return the exit when all is gone."""
        self.signal(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.exited()
        self.kill()
        await self.gone()
        return await self.exited()

    def _send_order(self, text: str) -> None:
        if self._gone.done():
            return
        try:
            self._control.sendall(text.encode())
        except BlockingIOError:
            # The socket is full of unread orders only if the subreaper was stopped (SIGSTOP).
            self._control.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the subreaper has ended, and `_read` gets the end of file

    def _read(self) -> None:
        try:
            data = self._control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._handle_message(*line.decode().split(" "))
        if not data and not self._gone.done():
            self._handle_lost_subreaper()

    def _handle_message(self, word: str, *values: str) -> None:
        if word == "started":
            self.pid, self._subreaper_pid = int(values[0]), int(values[1])
            self._started.set_result(None)
        elif word == "failed":
            self._started.set_result(_failure(int(values[0]), values[1]))
            self._set_gone()
        elif word == "exited":
            status, user, system, memory = values
            self._exited.set_result(Exit(int(status), float(user), float(system), int(memory) * 1024))
        elif word == "gone":
            self._set_gone()

    def _handle_lost_subreaper(self) -> None:
        """Have the watchdog kill what a killed subreaper has left."""
        self._close_control()
        if self._started.done():
            log.warning("subreaper.died", pid=self.pid)
            self._tasks.start(f"reap-{self.pid}", self._await_reap())
        else:
            self._started.set_result(SubreaperDied())
            self._set_gone()

    async def _await_reap(self) -> None:
        try:
            await self._reap(self._subreaper_pid, self.pid)
        finally:
            self._set_gone()

    def _close_control(self) -> None:
        if self._control.fileno() >= 0:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()

    def _set_gone(self) -> None:
        """Complete `gone`, and `exited` with an unknown status if it is still open."""
        self._close_control()
        if not self._exited.done():
            self._exited.set_result(Exit(None))
        self._gone.set_result(None)


def _failure(number: int, what: str) -> SpawnFailed:
    if what == "group":
        return SpawnFailed(f"cannot enter the control group of the program: {os.strerror(number)}")
    return SpawnFailed(f"cannot start the {what}: {os.strerror(number)}", number)


class SubreaperDied(SpawnFailed):
    """The subreaper or the watchdog was killed while the program was started; try again."""
