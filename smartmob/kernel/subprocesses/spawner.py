"""Starts the programs that the service runs for its clients, and reports when they end.

A child is the program with all its descendants. Each child has one subreaper above it (see `subreaper`), and all
subreapers have the watchdog above them (see `watchdog`); together they make sure that no child outlives the service.
"""

from __future__ import annotations

import asyncio
import os
import resource
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path

import smartmob
from smartmob.errors import Unavailable
from smartmob.kernel.observability.event_logger import get_logger
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses import process_tree, umask, watchdog
from smartmob.kernel.subprocesses.child import Child, SpawnFailed, Spec, SubreaperDied
from smartmob.kernel.subprocesses.control_groups import ControlGroup
from smartmob.kernel.subprocesses.fd_channel import FdChannel
from smartmob.kernel.subprocesses.output import Pipe, PipeReader
from smartmob.kernel.subprocesses.process_tag import ProcessTags
from smartmob.kernel.subprocesses.start_errors import describe

log = get_logger()

_PACKAGE_FOLDER = Path(smartmob.__file__).parents[1]

CHILDREN_PER_SUBREAPER = 100
"""The most children of one subreaper. They share its memory of 2.6 MB, and are killed with it."""


class _SubreaperClient:
    """The service's channel to a subreaper, and the number of children that the subreaper has."""

    def __init__(self, channel: FdChannel) -> None:
        self.channel = channel
        self.children = 0


class Spawner:
    """Starts children. `start`, or else the first child, starts the watchdog.

    The limit of open files of a child is that of this process when the spawner was made. `pipe_reader` reads the output
    of children. Call `close` after the last `spawn`.
    """

    def __init__(self, tasks: TaskRegistry) -> None:
        self.pipe_reader = PipeReader()
        self._tasks = tasks
        self._open_files = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        self._tags = ProcessTags()
        self._children_per_subreaper = CHILDREN_PER_SUBREAPER if self._tags.supported() else 1
        self._children: set[Child] = set()
        self._watchdog: subprocess.Popen[bytes] | None = None
        self._channel: FdChannel | None = None
        self._subreapers: list[_SubreaperClient] = []
        self._reap_answers: deque[asyncio.Future[bool]] = deque()
        self._closed = False

    @property
    def watchdog_pid(self) -> int | None:
        """Return the process id of the watchdog, or None when there is none."""
        return None if self._channel is None or self._watchdog is None else self._watchdog.pid

    async def start(self) -> None:
        """Start the watchdog."""
        self._connect()

    async def close(self) -> None:
        """Kill all children, and wait until they and the watchdog have ended."""
        self._closed = True
        for child in tuple(self._children):
            child.kill()
        await asyncio.gather(*(child.gone() for child in tuple(self._children)))
        running = self._watchdog
        self._close_channels()
        if running is not None:
            # The watchdog ends at the end of file on its socket; a thread waits for its end without a timer.
            await asyncio.to_thread(running.wait)

    async def spawn(self, spec: Spec) -> Child:
        """Start a program, and return its child when the program runs.

        Raises SpawnFailed with the reason of the system, and Unavailable when the service is stopping.
        """
        data = spec.encode()
        for last in (False, False, True):
            subreaper, child = await self._start_child(data, (spec.stdin, spec.stdout, spec.stderr))
            try:
                await child.started()
            except SubreaperDied:
                self._dismiss(subreaper)
                if last:
                    raise
            except SpawnFailed as error:
                if not error.number:
                    raise
                # In a thread, because the files may be on a slow disk.
                reason = await asyncio.to_thread(describe, error.number, spec.argv[0], spec.cwd, spec.env)
                raise SpawnFailed(reason, error.number) from None
            except asyncio.CancelledError:
                child.kill()
                raise
            else:
                break
        return child

    async def spawn_with_output(
        self,
        argv: Sequence[str],
        env: Mapping[str, str],
        cwd: Path,
        on_output: Callable[[bytes], None],
        on_errors: Callable[[bytes], None] | None = None,
        *,
        group: ControlGroup | None = None,
    ) -> tuple[Child, tuple[Pipe, ...]]:
        """Start a program without input, and call `on_output` with each chunk of its output, `on_errors` of its errors.

        Without `on_errors` both streams are one pipe, so that their order is exact. With `group` the program is in that
        control group. Returns the child and the pipes, which the caller must close with `pipe_reader.close` at the end.
        Raises as `spawn` does, and OSError when no pipe can be made.
        """
        pipes: list[Pipe] = []
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            pipes.append(Pipe(on_output, lambda: None))
            if on_errors is not None:
                pipes.append(Pipe(on_errors, lambda: None, large=False))
                pipes[0].sibling, pipes[1].sibling = pipes[1], pipes[0]
            child = await self.spawn(Spec(argv, env, cwd, null, pipes[0].write_end, pipes[-1].write_end, group=group))
        except BaseException:
            for pipe in pipes:
                self.pipe_reader.close(pipe)
            raise
        finally:
            os.close(null)
        for pipe in pipes:
            pipe.hand_over()
            self.pipe_reader.add(pipe)
        return child, tuple(pipes)

    async def _start_child(self, data: bytes, fds: Sequence[int]) -> tuple[_SubreaperClient, Child]:
        """Order a subreaper to start a program; return both before the program runs."""
        try:
            ours, theirs = socket.socketpair()
            ours.setblocking(False)
            child = Child(ours, self._reap, self._tasks)
            self._children.add(child)
            child.when_gone(self._children.discard)
            with theirs:
                # The specification is written before the socket is sent, so that the subreaper can usually start the
                # program in the step in which it receives the socket.
                written = ours.send(data)
                subreaper = await self._assign(child, (theirs.fileno(), *fds))
        except OSError as error:
            raise SpawnFailed(f"cannot start the program: {error.strerror}") from None
        with suppress(ConnectionError):  # then `Child` reads the end of file
            await asyncio.get_running_loop().sock_sendall(ours, data[written:])
        return subreaper, child

    async def _assign(self, child: Child, fds: Sequence[int]) -> _SubreaperClient:
        """Send a child to the subreaper with the fewest children, or to a new one when all are full; return it."""
        while True:
            if self._closed:
                raise Unavailable("the service is stopping and starts no more programs")
            subreaper = min(self._subreapers, key=lambda each: each.children, default=None)
            if subreaper is None or subreaper.children >= self._children_per_subreaper:
                subreaper = await self._add_subreaper()
            subreaper.children += 1
            child.when_gone(partial(self._child_gone, subreaper))
            try:
                await subreaper.channel.send(b"S", fds)
            except OSError:
                self._dismiss(subreaper)
            else:
                return subreaper

    async def _add_subreaper(self) -> _SubreaperClient:
        """Have the watchdog fork a subreaper; a new watchdog is started if the last one has died."""
        ours, theirs = socket.socketpair()
        with ExitStack() as unused, theirs:
            unused.callback(ours.close)
            while True:
                channel = self._connect()
                try:
                    await channel.send(b"K", (theirs.fileno(),))
                except OSError:
                    self._handle_lost_watchdog(channel)
                else:
                    break
            unused.pop_all()
        subreaper = _SubreaperClient(FdChannel(ours))
        self._subreapers.append(subreaper)
        return subreaper

    def _child_gone(self, subreaper: _SubreaperClient, _: Child) -> None:
        """Dismiss a subreaper without children, unless it is the last one."""
        subreaper.children -= 1
        if not subreaper.children and len(self._subreapers) > 1:
            self._dismiss(subreaper)

    def _dismiss(self, subreaper: _SubreaperClient) -> None:
        """Send a subreaper no more children. It ends when it has no children left."""
        if subreaper in self._subreapers:
            self._subreapers.remove(subreaper)
        subreaper.channel.close()

    async def _reap(self, subreaper_pid: int, child_pid: int) -> None:
        """Wait until the watchdog has killed what a killed subreaper left; without a watchdog, kill it here."""
        channel = self._channel
        if channel is None:
            await asyncio.to_thread(self._kill_abandoned, child_pid)
            return
        done = asyncio.get_running_loop().create_future()
        self._reap_answers.append(done)
        try:
            await channel.send(b"B" + subreaper_pid.to_bytes(4, "big"), ())
        except OSError:
            self._handle_lost_watchdog(channel)
        if not await done:
            await asyncio.to_thread(self._kill_abandoned, child_pid)

    def _kill_abandoned(self, *child_pids: int) -> None:
        """Kill the processes that have neither subreaper nor watchdog, found by their session and their tag."""
        for pid in child_pids:
            process_tree.kill_found(partial(process_tree.members, pid))
        process_tree.kill_found(self._tags.abandoned)

    def _connect(self) -> FdChannel:
        """Return the channel to the watchdog, which is started if there is none."""
        if self._channel is not None:
            return self._channel
        ours, theirs = socket.socketpair()
        with ExitStack() as unused, theirs:
            unused.callback(ours.close)
            fd = theirs.fileno()
            # Isolated (-I) and without site-packages (-S), it starts in milliseconds and has little memory to copy.
            command = [sys.executable, "-I", "-S", "-c", watchdog.START]
            command += [str(_PACKAGE_FOLDER), str(fd), str(self._open_files)]
            null = subprocess.DEVNULL
            self._watchdog = subprocess.Popen(
                command, stdin=null, stdout=null, pass_fds=(fd,), cwd="/", umask=umask.of_programs()
            )
            unused.pop_all()
        # An earlier service may have been killed together with its watchdog and a subreaper.
        self._tasks.start("abandoned", asyncio.to_thread(self._kill_abandoned))
        self._channel = channel = FdChannel(ours)
        asyncio.get_running_loop().add_reader(ours.fileno(), self._read_answers, channel, ours)
        return channel

    def _read_answers(self, channel: FdChannel, ours: socket.socket) -> None:
        """Complete one future for each answer `b` of the watchdog."""
        try:
            data = ours.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        for _ in data:
            self._reap_answers.popleft().set_result(True)
        if not data:
            self._handle_lost_watchdog(channel)

    def _handle_lost_watchdog(self, channel: FdChannel) -> None:
        """Close the channels to a watchdog that has died, and to its subreapers, which end with it."""
        if self._channel is not channel:
            return
        log.error("watchdog.died", hint="its children are killed with it; the next child starts a new one")
        if self._watchdog is not None:
            self._tasks.start("watchdog-wait", asyncio.to_thread(self._watchdog.wait))
        self._close_channels()

    def _close_channels(self) -> None:
        for subreaper in tuple(self._subreapers):
            self._dismiss(subreaper)
        if self._channel is not None:
            asyncio.get_running_loop().remove_reader(self._channel.fileno())
            self._channel.close()
            self._channel = None
        while self._reap_answers:
            self._reap_answers.popleft().set_result(False)
