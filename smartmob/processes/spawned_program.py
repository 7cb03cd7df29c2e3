"""Spawning a program without input, and reading its standard output and standard error."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from smartmob.kernel.subprocesses.child import Child
from smartmob.kernel.subprocesses.control_groups import ControlGroup
from smartmob.kernel.subprocesses.output import Pipe
from smartmob.kernel.subprocesses.spawner import Spawner

OnOutput = Callable[[bytes], None]
"""Called in the event loop with each chunk of output, in order; returns at once and raises nothing."""


class SpawnedProgram:
    """A program that was spawned, and the pipes that it writes to. `close` it when its process tree is gone."""

    def __init__(self, spawner: Spawner, child: Child, pipes: Sequence[Pipe]) -> None:
        self.child = child
        self._spawner = spawner
        self._pipes = pipes

    def read_rest(self) -> None:
        """Pass on what the pipes hold now: the output that was written before an event is shown before it."""
        for pipe in self._pipes:
            self._spawner.pipe_reader.drain(pipe)

    def close(self) -> None:
        """Pass on what the pipes hold, and close them."""
        self.read_rest()
        for pipe in self._pipes:
            self._spawner.pipe_reader.close(pipe)


async def spawn(
    spawner: Spawner,
    argv: Sequence[str],
    cwd: Path,
    env: Mapping[str, str],
    on_output: OnOutput,
    on_errors: OnOutput | None = None,
    *,
    group: ControlGroup | None = None,
) -> SpawnedProgram:
    """Start the command line `argv` in the folder `cwd` with the environment `env`; call `on_output` with its output.

    `on_errors` is called with its standard error; without it, both streams are one pipe. Raises SpawnFailed,
    Unavailable, and OSError when no file descriptors are left. Nothing stays open then.
    """
    child, pipes = await spawner.spawn_with_output(argv, env, cwd, on_output, on_errors, group=group)
    return SpawnedProgram(spawner, child, pipes)


async def run_to_end(
    spawner: Spawner, argv: Sequence[str], cwd: Path, env: Mapping[str, str], on_output: OnOutput
) -> int | None:
    """Run a command and return its exit status, as `Exit` has it; its whole process tree ends before this returns.

    The same holds when this call is cancelled. Raises as `spawn` does.
    """
    program = await spawn(spawner, argv, cwd, env, on_output)
    child = program.child
    try:
        ended = await child.exited()
    finally:
        await _end_tree(child)
        program.close()
    return ended.status


async def _end_tree(child: Child) -> None:
    """Kill a process tree, and return when it is gone, after a second cancellation, too.

    It must not write into the folder of the next build.
    """
    child.kill()
    while not child.is_gone:
        try:
            await child.gone()
        except asyncio.CancelledError:
            continue
