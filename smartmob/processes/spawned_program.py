"""Spawning a program without input, and reading its standard output and standard error."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from smartmob.kernel.subprocesses.child import Child
from smartmob.kernel.subprocesses.control_groups import ControlGroup
from smartmob.kernel.subprocesses.output import Pipe
from smartmob.kernel.subprocesses.spawner import Spawner

OnOutput = Callable[[bytes], None]
"""Called in the event loop with each chunk of output, in order; returns at once and raises nothing."""


class SpawnedProgram:
    """A program that was spawned, and the pipe that it writes to. `close` it when its process tree is gone."""

    def __init__(self, spawner: Spawner, child: Child, pipe: Pipe) -> None:
        self.child = child
        self._spawner = spawner
        self._pipe = pipe

    def read_rest(self) -> None:
        """Pass on what the pipe holds now: the output that was written before an event is shown before it."""
        self._spawner.pipe_reader.drain(self._pipe)

    def close(self) -> None:
        """Pass on what the pipe holds, and close it."""
        self.read_rest()
        self._spawner.pipe_reader.close(self._pipe)


async def spawn(
    spawner: Spawner,
    argv: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    on_output: OnOutput,
    *,
    group: ControlGroup | None = None,
) -> SpawnedProgram:
    """Start the command line `argv` in the folder `cwd` with the environment `env`; call `on_output` with its output.

    Raises SpawnFailed, Unavailable, and OSError when no file descriptors are left. Nothing stays open then.
    """
    child, pipe = await spawner.spawn_with_output(argv, env, cwd, on_output, group=group)
    return SpawnedProgram(spawner, child, pipe)
