"""The turret under check as a process with its children, which are found by a variable of their environment.

The spawner of the service starts it, so that it ends with all its children when the check itself is killed.
"""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

import psutil

from smartmob.environment import environment, secret_names
from smartmob.errors import SettingsError
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.kernel.subprocesses.child import Child, Exit, SpawnFailed, Spec
from smartmob.kernel.subprocesses.spawner import Spawner
from smartmob.turrets.conformance.awaited_changes import AwaitedChanges

TAG = "SMARTMOB_CHECKED_TURRET"
"""The variable by which processes of the turret are recognised, including those that have left its session."""

_LINES_KEPT = 5
_LAST_LINES_SECONDS = 1.0
"""Time to wait for the rest of the output after the end: a child may hold it open."""

_KILL_SECONDS = 10.0
"""Time to wait for the end of killed processes."""
_LONGEST_LINE = 200


class TurretProcess:
    """One process of the command. After `start` you must `destroy`."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], changes: AwaitedChanges):
        self._command, self._variables, self._changes = command, variables, changes
        self._tag = uuid.uuid4().hex
        self._tasks = TaskRegistry()
        self._spawner = Spawner(self._tasks)
        self._child: Child | None = None
        self._exit: Exit | None = None
        self._ended = False
        self._output: asyncio.ReadTransport | None = None
        self.last_lines: deque[str] = deque(maxlen=_LINES_KEPT)

    async def start(self) -> None:
        """Start the command in a session of its own; raises SettingsError when it cannot be started."""
        inherited = {name: value for name, value in environment().items() if name not in secret_names()}
        variables = inherited | dict(self._variables) | {TAG: self._tag}
        # With a pipe made by the spawner, its end would not be noticed.
        reading, writing = os.pipe()
        null = os.open(os.devnull, os.O_RDONLY)
        try:
            self._child = await self._spawner.spawn(Spec(self._command, variables, Path.cwd(), null, writing, writing))
        except SpawnFailed as error:
            os.close(reading)
            reason = os.strerror(error.number) if error.number else str(error)
            raise SettingsError(f"cannot start {self._command[0]}: {reason}") from None
        finally:
            os.close(writing)
            os.close(null)
        output = asyncio.StreamReader()
        self._output, _ = await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(output), os.fdopen(reading, "rb", buffering=0)
        )
        reader = self._tasks.start("output of the turret", self._read(output))
        self._tasks.start("end of the turret", self._wait(self._child, reader))

    def has_ended(self) -> bool:
        """Return whether the process has ended, and its last lines are there."""
        return self._ended

    @property
    def ending(self) -> str:
        """Return in words how it ended."""
        code = None if self._exit is None else self._exit.status
        how = f"by signal {-code}" if code is not None and code < 0 else f"with exit code {code}"
        said = f"; its last line of output: {self.last_lines[-1]}" if self.last_lines else ""
        return f"the turret ended {how}{said}"

    def terminate(self) -> None:
        """Send SIGTERM to the process alone, as a supervisor of services does."""
        if self._child is not None and self._child.alive:
            with suppress(ProcessLookupError):
                os.kill(self._child.pid, signal.SIGTERM)

    def left(self) -> list[psutil.Process]:
        """Return the running processes that the command has started, without the command itself."""
        own = self._child.pid if self._child is not None and self._child.alive else None
        found = []
        for one in psutil.process_iter():
            try:
                if one.pid != own and one.environ().get(TAG) == self._tag and one.status() != psutil.STATUS_ZOMBIE:
                    found.append(one)
            except (psutil.Error, OSError):
                continue
        return found

    async def destroy(self) -> None:
        """End the process and all its descendants."""
        await self._spawner.close()
        self._ended = True
        left = self.left()
        for one in left:
            with suppress(psutil.Error):
                one.kill()
        await asyncio.to_thread(psutil.wait_procs, left, _KILL_SECONDS)
        await self._tasks.close()
        if self._output is not None:
            self._output.close()

    async def _wait(self, child: Child, reader: asyncio.Task[None]) -> None:
        self._exit = await child.exited()
        await asyncio.wait([reader], timeout=_LAST_LINES_SECONDS)
        self._ended = True
        self._changes.notify()

    async def _read(self, output: asyncio.StreamReader) -> None:
        rest = b""
        while chunk := await output.read(65536):
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-65536:]
            for line in lines:
                if line.strip():
                    self.last_lines.append(line.decode(errors="replace").strip()[:_LONGEST_LINE])
