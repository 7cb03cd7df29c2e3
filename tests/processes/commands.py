"""A runner of commands for tests, which uses asyncio and kills the process group when it is cancelled."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path


class Runner:
    """Runs commands and records them; `began` is set when a command has been started."""

    def __init__(self) -> None:
        self.began = asyncio.Event()
        self.commands: list[tuple[str, ...]] = []
        self.killed = 0

    async def __call__(
        self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], on_output: Callable[[bytes], None]
    ) -> int:
        """Run a command, pass on all its output, and return its exit status."""
        self.commands.append(tuple(argv))
        process = await asyncio.create_subprocess_exec(
            *argv,
            cwd=cwd,
            env=dict(env),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        self.began.set()
        assert process.stdout is not None
        try:
            while data := await process.stdout.read(65536):
                on_output(data)
            return await process.wait()
        finally:
            if process.returncode is None:
                self.killed += 1
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()


def variables() -> dict[str, str]:
    """Return the variables of this process that commands need."""
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
