"""A runner of commands for tests, which uses asyncio and kills the process group when it is cancelled."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path

from tests.acceptance.installed import made


class Runner:
    """Runs commands and records them; `began` is set when a command has been started.

    With `venv`, the path of an environment, it is copied where a command would make one.
    """

    def __init__(self, venv: Path | None = None) -> None:
        self._venv = venv
        self.began = asyncio.Event()
        self.commands: list[tuple[str, ...]] = []
        self.killed = 0

    async def __call__(
        self, argv: Sequence[str], cwd: Path, env: Mapping[str, str], on_output: Callable[[bytes], None]
    ) -> int:
        """Run a command, pass on all its output, and return its exit status."""
        self.commands.append(tuple(argv))
        if self._venv is not None and tuple(argv[1:3]) == ("-m", "venv"):
            argv = ("cp", "-a", str(self._venv), argv[3])
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


@cache
def made_venv() -> Path:
    """Return the path of an environment as `python -m venv` makes it, one for all tests of a run.

    To make one takes 4 s of processor time, nearly all for pip.
    """

    def make(folder: Path) -> None:
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)

    return made("venv", make)


def lay_quick_python(folder: Path, name: str = "python3.77") -> Path:
    """Write a Python 3.77 that is the present one, but copies an environment instead of making one; return `folder`.

    The programs of the copy are its own, as those of an environment that was made.
    """
    folder.mkdir()
    program = folder / name
    program.write_text(
        f"""#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
    set -e
    mkdir -p "$(dirname "$3")"
    cp -a {made_venv()} "$3"
    exec sed -i "1s|^#!.*|#!$(realpath "$3")/bin/python|" "$3"/bin/pip*
fi
exec {sys.executable} "$@"
"""
    )
    program.chmod(0o755)
    return folder


def variables() -> dict[str, str]:
    """Return the variables of this process that commands need."""
    return {name: value for name, value in os.environ.items() if name in ("PATH", "HOME", "LANG", "TMPDIR")}
