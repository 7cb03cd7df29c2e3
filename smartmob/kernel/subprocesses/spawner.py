"""Children of the service: started by the guardian, told about by events, and gone when the service is gone.

Every program that the service starts on somebody's behalf is started here. See `guardian` for what makes sure that
none of them, nor any of their descendants, outlives the service.
"""

from __future__ import annotations

import asyncio
import errno
import os
import resource
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import structlog

import smartmob
from smartmob.errors import SmartmobError, Unavailable
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses import process_tree, umask, watchdog
from smartmob.kernel.subprocesses.fd_channel import FdChannel
from smartmob.kernel.subprocesses.output import PipeReader
from smartmob.kernel.subprocesses.process_tag import ProcessTags
from smartmob.kernel.subprocesses.subreaper import LARGEST

log = structlog.get_logger()

_PACKAGE_FOLDER = Path(smartmob.__file__).parents[1]

KEPT_AT_MOST = 50
"""How many children share a keeper: they share its fate when it is killed, and its memory, of a megabyte."""


class SpawnFailed(SmartmobError):
    """The program could not be started."""


@dataclass(frozen=True, slots=True)
class Spec:
    """What to start.

    `argv[0]` without a slash is looked for in the PATH of `env`. The program gets the open descriptors `stdin`,
    `stdout` and `stderr`, which the caller keeps and closes; or with `terminal` (the path of a pseudo-terminal's
    slave) that one as all three and as its controlling terminal.
    """

    argv: Sequence[str]
    env: Mapping[str, str]
    cwd: Path
    stdin: int
    stdout: int
    stderr: int
    terminal: str = ""

    def encode(self) -> bytes:
        """Return the bytes that a keeper reads; raises SpawnFailed for what no program can be given."""
        texts = [str(self.cwd), self.terminal, str(len(self.argv)), *self.argv]
        texts += [f"{name}={value}" for name, value in self.env.items()]
        if not self.argv or not self.argv[0]:
            raise SpawnFailed("there is no program to start")
        if any("\0" in text for text in texts):
            raise SpawnFailed("a program's arguments, folder and environment cannot contain the NUL character")
        if any(not name or "=" in name for name in self.env):
            raise SpawnFailed("the name of an environment variable is empty or contains '='")
        try:
            data = b"".join(os.fsencode(text) + b"\0" for text in texts)
        except UnicodeEncodeError:
            raise SpawnFailed("a program's arguments, folder and environment cannot contain half a character") from None
        if len(data) > LARGEST:
            raise SpawnFailed(f"cannot start the program: {os.strerror(errno.E2BIG)}")
        return len(data).to_bytes(4, "big") + data


@dataclass(frozen=True, slots=True)
class Exit:
    """How a child ended.

    `status` is its exit status, or the negative number of the signal that ended it. Times are in seconds,
    `max_memory` in bytes; of the child and the descendants that it waited for. `status` is None when nobody
    could tell, because the keeper itself was killed.
    """

    status: int | None
    user_time: float = 0.0
    system_time: float = 0.0
    max_memory: int = 0


class Child:
    """A started program, with all its descendants.

    It is over when `gone` returns: then no descendant is left. Nobody has to wait for it; the guardian does.
    """

    def __init__(
        self, control: socket.socket, bury: Callable[[int, int], Awaitable[None]], tasks: TaskRegistry
    ) -> None:
        self.pid = 0
        self._keeper = 0
        self._control = control
        self._bury = bury
        self._tasks = tasks
        self._loop = asyncio.get_running_loop()
        self._received = b""
        self._started: asyncio.Future[SpawnFailed | None] = self._loop.create_future()
        self._exited: asyncio.Future[Exit] = self._loop.create_future()
        self._gone: asyncio.Future[None] = self._loop.create_future()
        self._loop.add_reader(control.fileno(), self._read)

    @property
    def alive(self) -> bool:
        """Return whether the program itself has not ended yet; descendants may outlive it."""
        return not self._exited.done()

    @property
    def is_gone(self) -> bool:
        """Return whether nothing is left of the program and its descendants."""
        return self._gone.done()

    async def started(self) -> None:
        """Return when the program runs; raises SpawnFailed."""
        error = await asyncio.shield(self._started)
        if error is not None:
            raise error

    async def exited(self) -> Exit:
        """Return how the program ended, once it has."""
        return await asyncio.shield(self._exited)

    async def gone(self) -> None:
        """Return when nothing is left of the program and its descendants."""
        await asyncio.shield(self._gone)

    def when_exited(self, act: Callable[[Exit], object]) -> None:
        """Call `act` as soon as the program has ended."""
        self._exited.add_done_callback(lambda future: act(future.result()))

    def when_gone(self, act: Callable[[Child], object]) -> None:
        """Call `act` with this child as soon as it is gone."""
        self._gone.add_done_callback(lambda _: act(self))

    def signal(self, number: int) -> None:
        """Send a signal to the program's process group; to all that is left when the program itself has ended."""
        self._order(f"signal {int(number)}\n")

    def kill(self) -> None:
        """Order the end of the program and of all its descendants; `gone` returns when it is done."""
        self._order("kill\n")

    async def stop(self, number: int, grace: float) -> Exit:
        """Send signal `number` to the group, and after `grace` seconds kill what is left; return when all is gone."""
        self.signal(number)
        with suppress(TimeoutError):
            async with asyncio.timeout(grace):
                await self.exited()
        self.kill()
        await self.gone()
        return await self.exited()

    def _order(self, text: str) -> None:
        if self._gone.done():
            return
        try:
            self._control.sendall(text.encode())
        except BlockingIOError:
            # Unread orders fill the socket only when somebody has stopped the keeper.
            self._control.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the keeper has ended, and the end of file is on its way

    def _read(self) -> None:
        try:
            data = self._control.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._take(*line.decode().split(" "))
        if not data and not self._gone.done():
            self._lost()

    def _take(self, word: str, *values: str) -> None:
        if word == "started":
            self.pid, self._keeper = int(values[0]), int(values[1])
            self._started.set_result(None)
        elif word == "failed":
            number, what = int(values[0]), values[1]
            self._started.set_result(SpawnFailed(f"cannot start the {what}: {os.strerror(number)}"))
            self._end()
        elif word == "exited":
            status, user, system, memory = values
            self._exited.set_result(Exit(int(status), float(user), float(system), int(memory) * 1024))
        elif word == "gone":
            self._end()

    def _lost(self) -> None:
        """Have the guardian end what a killed keeper has left."""
        self._hang_up()
        if self._started.done():
            log.warning("child.keeper_lost", pid=self.pid)
            self._tasks.start(f"bury-{self.pid}", self._be_buried())
        else:
            self._started.set_result(SubreaperDied())
            self._end()

    async def _be_buried(self) -> None:
        try:
            await self._bury(self._keeper, self.pid)
        finally:
            self._end()

    def _hang_up(self) -> None:
        if self._control.fileno() >= 0:
            self._loop.remove_reader(self._control.fileno())
            self._control.close()

    def _end(self) -> None:
        """Take note that nothing is left."""
        self._hang_up()
        if not self._exited.done():
            self._exited.set_result(Exit(None))
        self._gone.set_result(None)


class SubreaperDied(SpawnFailed):
    """The keeper or the guardian was killed while the program was started; try again."""


class _Subreaper:
    """The service's end of a keeper, and how many children it has."""

    def __init__(self, line: FdChannel) -> None:
        self.line = line
        self.children = 0


class Spawner:
    """Starts children; the guardian with the first of them, or by `start`. `close` ends every child that is left.

    `sweeper` reads what they write. They may have as many files open as this process when the nursery was made.
    """

    def __init__(self, tasks: TaskRegistry) -> None:
        self.sweeper = PipeReader()
        self._tasks = tasks
        self._open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._brands = ProcessTags()
        self._shared_by = KEPT_AT_MOST if self._brands.work() else 1
        self._children: set[Child] = set()
        self._guardian: subprocess.Popen[bytes] | None = None
        self._line: FdChannel | None = None
        self._keepers: list[_Subreaper] = []
        self._burials: deque[asyncio.Future[bool]] = deque()
        self._closed = False

    @property
    def guardian_pid(self) -> int | None:
        """Return the guardian's process id; none while there is no guardian."""
        return None if self._line is None or self._guardian is None else self._guardian.pid

    async def start(self) -> None:
        """Start the guardian."""
        self._connect()

    async def close(self) -> None:
        """End all children and the guardian."""
        self._closed = True
        for child in tuple(self._children):
            child.kill()
        await asyncio.gather(*(child.gone() for child in tuple(self._children)))
        running = self._guardian
        self._hang_up()
        if running is not None:
            # It ends as soon as it sees the end of file; a thread of its own waits without a timer.
            await asyncio.to_thread(running.wait)

    async def spawn(self, spec: Spec) -> Child:
        """Start a program and return when it runs.

        Raises SpawnFailed with the system's reason, or Unavailable while the service stops.
        """
        data = spec.encode()
        for last in (False, False, True):
            keeper, child = await self._order(data, (spec.stdin, spec.stdout, spec.stderr))
            try:
                await child.started()
            except SubreaperDied:
                self._dismiss(keeper)
                if last:
                    raise
            except asyncio.CancelledError:
                child.kill()
                raise
            else:
                break
        return child

    async def _order(self, data: bytes, fds: Sequence[int]) -> tuple[_Subreaper, Child]:
        """Have a keeper start a program."""
        try:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            child = Child(ours, self._bury, self._tasks)
            self._children.add(child)
            child.when_gone(self._children.discard)
            with theirs:
                # Written before it is announced, most programs are started at the keeper's first look.
                written = ours.send(data)
                keeper = await self._announce(child, (theirs.fileno(), *fds))
        except OSError as error:
            raise SpawnFailed(f"cannot start the program: {error.strerror}") from None
        with suppress(ConnectionError):  # then the end of file tells
            await asyncio.get_running_loop().sock_sendall(ours, data[written:])
        return keeper, child

    async def _announce(self, child: Child, fds: Sequence[int]) -> _Subreaper:
        """Hand a child to the keeper that has the fewest; to a new one when all have as many as they may."""
        while True:
            if self._closed:
                raise Unavailable("the service is stopping; nothing is started any more")
            keeper = min(self._keepers, key=lambda each: each.children, default=None)
            if keeper is None or keeper.children >= self._shared_by:
                keeper = await self._add_keeper()
            keeper.children += 1
            child.when_gone(partial(self._left, keeper))
            try:
                await keeper.line.send(b"S", fds)
            except OSError:
                self._dismiss(keeper)
            else:
                return keeper

    async def _add_keeper(self) -> _Subreaper:
        """Have the guardian fork a keeper; a new guardian is started when it has died."""
        ours, theirs = socket.socketpair()
        with ExitStack() as unused, theirs:
            unused.callback(ours.close)
            while True:
                line = self._connect()
                try:
                    await line.send(b"K", (theirs.fileno(),))
                except OSError:
                    self._lose(line)
                else:
                    break
            unused.pop_all()
        keeper = _Subreaper(FdChannel(ours))
        self._keepers.append(keeper)
        return keeper

    def _left(self, keeper: _Subreaper, _: Child) -> None:
        """Let a keeper go that has no child left, unless it is the last."""
        keeper.children -= 1
        if not keeper.children and len(self._keepers) > 1:
            self._dismiss(keeper)

    def _dismiss(self, keeper: _Subreaper) -> None:
        """Give no more children to a keeper, which ends when it has none left."""
        if keeper in self._keepers:
            self._keepers.remove(keeper)
        keeper.line.close()

    async def _bury(self, keeper: int, child: int) -> None:
        """Have the guardian end what a killed keeper leaves; without it, do it here."""
        line = self._line
        if line is None:
            await asyncio.to_thread(self._kill_abandoned, child)
            return
        done = asyncio.get_running_loop().create_future()
        self._burials.append(done)
        try:
            await line.send(b"B" + keeper.to_bytes(4, "big"), ())
        except OSError:
            self._lose(line)
        if not await done:
            await asyncio.to_thread(self._kill_abandoned, child)

    def _kill_abandoned(self, *children: int) -> None:
        """Kill what has neither keeper nor guardian, told by session and by brand."""
        for child in children:
            process_tree.kill_found(partial(process_tree.members, child))
        process_tree.kill_found(self._brands.abandoned)

    def _connect(self) -> FdChannel:
        """Return the line to the guardian, which is started when there is none."""
        if self._line is not None:
            return self._line
        ours, theirs = socket.socketpair()
        with ExitStack() as unused, theirs:
            unused.callback(ours.close)
            fd = theirs.fileno()
            # Isolated and without site-packages: it starts in milliseconds and has nothing in memory to copy.
            command = [sys.executable, "-I", "-S", "-c", watchdog.START]
            command += [str(_PACKAGE_FOLDER), str(fd), str(self._open_files)]
            null = subprocess.DEVNULL
            self._guardian = subprocess.Popen(
                command, stdin=null, stdout=null, pass_fds=(fd,), cwd="/", umask=umask.of_programs()
            )
            unused.pop_all()
        # What a service has left that was killed together with its guardian and a keeper.
        self._tasks.start("abandoned", asyncio.to_thread(self._kill_abandoned))
        self._line = line = FdChannel(ours)
        asyncio.get_running_loop().add_reader(ours.fileno(), self._hear, line, ours)
        return line

    def _hear(self, line: FdChannel, ours: socket.socket) -> None:
        try:
            data = ours.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        for _ in data:
            self._burials.popleft().set_result(True)
        if not data:
            self._lose(line)

    def _lose(self, line: FdChannel) -> None:
        """Do without the guardian at the end of `line`: it has died, and its keepers with it."""
        if self._line is not line:
            return
        log.error("guardian.died", hint="its children end with it; a new one is started for the next")
        if self._guardian is not None:
            self._tasks.start("guardian-reap", asyncio.to_thread(self._guardian.wait))
        self._hang_up()

    def _hang_up(self) -> None:
        for keeper in tuple(self._keepers):
            self._dismiss(keeper)
        if self._line is not None:
            asyncio.get_running_loop().remove_reader(self._line.fileno())
            self._line.close()
            self._line = None
        while self._burials:
            self._burials.popleft().set_result(False)
