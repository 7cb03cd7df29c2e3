"""Children of the service: started by the guardian, told about by events, and gone when the service is gone.

Every program that the service starts on somebody's behalf is started here. See `guardian` for what makes sure that
none of them, nor any of their descendants, outlives the service.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import structlog

from smartmob.errors import SmartmobError, Unavailable
from smartmob.kernel.children import guardian
from smartmob.kernel.children.output import Sweeper
from smartmob.kernel.tasks import TaskRegistry

log = structlog.get_logger()

_PROGRAM = Path(guardian.__file__)


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
        data = b"".join(os.fsencode(text) + b"\0" for text in texts)
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
            self._started.set_result(GuardianDied())
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


class GuardianDied(SpawnFailed):
    """The guardian was killed while the program was started; try again."""


class Nursery:
    """Starts children; the guardian with the first of them, or by `start`. `close` ends every child that is left.

    `sweeper` reads what they write. They may have as many files open as this process when the nursery was made.
    """

    def __init__(self, tasks: TaskRegistry) -> None:
        self.sweeper = Sweeper()
        self._tasks = tasks
        self._lock = asyncio.Lock()
        self._open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._children: set[Child] = set()
        self._guardian: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None
        self._burials: deque[asyncio.Future[bool]] = deque()
        self._closed = False

    @property
    def guardian_pid(self) -> int | None:
        """Return the guardian's process id; none while there is no guardian."""
        return None if self._socket is None or self._guardian is None else self._guardian.pid

    async def start(self) -> None:
        """Start the guardian."""
        async with self._lock:
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
            child = await self._order(data, (spec.stdin, spec.stdout, spec.stderr))
            try:
                await child.started()
            except GuardianDied:
                if last:
                    raise
            except asyncio.CancelledError:
                child.kill()
                raise
            else:
                break
        return child

    async def _order(self, data: bytes, fds: Sequence[int]) -> Child:
        """Have the guardian fork a keeper, and hand that one its specification."""
        try:
            ours, theirs = socket.socketpair()
        except OSError as error:
            raise SpawnFailed(f"cannot start the program: {error.strerror}") from None
        ours.setblocking(False)
        child = Child(ours, self._bury, self._tasks)
        self._children.add(child)
        child.when_gone(self._children.discard)
        with theirs:
            await self._send(b"S", (theirs.fileno(), *fds))
        with suppress(ConnectionError):  # then the end of file tells
            await asyncio.get_running_loop().sock_sendall(ours, data)
        return child

    async def _bury(self, keeper: int, child: int) -> None:
        """Have the guardian end what a killed keeper leaves; without it, end what can be told by its session."""
        if self._socket is None:
            await asyncio.to_thread(guardian.kill_session, child)
            return
        done = asyncio.get_running_loop().create_future()
        self._burials.append(done)
        await self._send(b"B" + keeper.to_bytes(4, "big"), ())
        if not await done:
            await asyncio.to_thread(guardian.kill_session, child)

    async def _send(self, word: bytes, fds: Sequence[int]) -> None:
        """Send to the guardian; a new one is started when it has died."""
        async with self._lock:
            while True:
                if self._closed:
                    raise Unavailable("the service is stopping; nothing is started any more")
                connection = self._connect()
                try:
                    socket.send_fds(connection, [word], fds)
                except BlockingIOError:
                    await self._writable(connection)
                except OSError:
                    self._lose()
                else:
                    return

    async def _writable(self, connection: socket.socket) -> None:
        loop, ready = asyncio.get_running_loop(), asyncio.Event()
        loop.add_writer(connection.fileno(), ready.set)
        try:
            await ready.wait()
        finally:
            if connection.fileno() >= 0:
                loop.remove_writer(connection.fileno())

    def _connect(self) -> socket.socket:
        """Return the connection to the guardian, which is started when there is none."""
        if self._socket is not None:
            return self._socket
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            fd = theirs.fileno()
            # Isolated and without site-packages: it starts in milliseconds and has nothing in memory to copy.
            command = [sys.executable, "-I", "-S", str(_PROGRAM), str(fd), str(self._open_files)]
            null = subprocess.DEVNULL
            self._guardian = subprocess.Popen(command, stdin=null, stdout=null, pass_fds=(fd,), cwd="/")
        self._socket = ours
        asyncio.get_running_loop().add_reader(ours.fileno(), self._hear)
        return ours

    def _hear(self) -> None:
        assert self._socket is not None
        try:
            data = self._socket.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        for _ in data:
            self._burials.popleft().set_result(True)
        if not data:
            self._lose()

    def _lose(self) -> None:
        """Do without the guardian: it has died."""
        log.error("guardian.died", hint="its children end with it; a new one is started for the next")
        if self._guardian is not None:
            self._tasks.start("guardian-reap", asyncio.to_thread(self._guardian.wait))
        self._hang_up()

    def _hang_up(self) -> None:
        if self._socket is not None:
            asyncio.get_running_loop().remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None
        while self._burials:
            self._burials.popleft().set_result(False)
