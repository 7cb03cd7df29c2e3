"""The shell of a page: each command sees the folder and the variables that the one before has left."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from smartmob.environment import environment
from tests.acceptance import forked, installed

_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
_SECONDS = 800.0
"""Less than a test may take, so that what has hung is shown."""


@dataclass(frozen=True, slots=True)
class Ended:
    """The exit code of a command, with its output and its errors."""

    code: int
    output: str


class Shell:
    """Runs commands in `folder`/home. Nothing of the test run, of a CI or of the user reaches them."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.cwd = self.home
        self._programs = folder / "bin"
        self._exported = folder / "exported"
        self._left = folder / "left"
        for made in (self.home, self._programs):
            made.mkdir()
        self._exported.touch()
        inherited = {
            name: value
            for name, value in environment().items()
            # Where pip finds its packages is a matter of the machine.
            if name in _INHERITED or name.startswith("PIP_")
        }
        # The commands of smartmob as somebody has them who installed the wheel; all others as the tests have them.
        ours = map(str, (self._programs, forked.programs(), installed.programs(), Path(sys.executable).parent))
        path = (*ours, inherited.get("PATH", os.defpath))
        self.variables = inherited | {
            "PATH": os.pathsep.join(path),
            "HOME": str(self.home),
            "PYTHONUTF8": "1",
            # It changes all the time, and it is part of the hash of a context.
            "PYTEST_MONITOR_FORCE_CPU_FREQ": "1",
            "PYTEST_MONITOR_CPU_FREQ": "2596.122",
            # Programs that run are not watched for a while.
            "SMARTMOB_UPTIME": "0",
        }

    def add_program(self, name: str, *command: str | Path) -> None:
        """Let `name` run `command` from now on, with the arguments that it is given."""
        words = " ".join(shlex.quote(str(word)) for word in command)
        program = self._programs / name
        program.write_text(f'#!/bin/sh\nexec {words} "$@"\n')
        program.chmod(0o755)

    def run(self, command: str) -> Ended:
        """Run a command until it ends; with its group of processes it is killed at the deadline."""
        keep = f"_code=$?; pwd >{self._left}; export -p >{self._exported}; exit $_code"
        process = self._popen(f"{command}\n{keep}", subprocess.PIPE)
        try:
            output, _ = process.communicate(timeout=_SECONDS)
        except subprocess.TimeoutExpired:
            output = f"still running after {_SECONDS:g} s".encode()
        finally:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.wait()
        if self._left.exists():
            self.cwd = Path(self._left.read_text().strip())
        return Ended(process.returncode, output.decode(errors="replace"))

    def start(self, command: str, output: Path, further: Mapping[str, str]) -> subprocess.Popen[bytes]:
        """Start a command that goes on in a terminal of its own."""
        with output.open("wb") as file:
            # `env`, since variables may be set before the name of the program.
            return self._popen(f"exec env {command}", file.fileno(), further)

    def replace_exported(self, old: str, new: str) -> None:
        """Change the values of exported variables."""
        self._exported.write_text(self._exported.read_text().replace(old, new))

    def _popen(self, script: str, output: int, further: Mapping[str, str] | None = None) -> subprocess.Popen[bytes]:
        defaults = "".join(f": ${{{name}:={shlex.quote(value)}}}\n" for name, value in (further or {}).items())
        return subprocess.Popen(
            # Whatever a command sets is exported, and so known to the next one.
            ["/bin/sh", "-c", f". {self._exported}\nset -a\n{defaults}{script}"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd=self.cwd,
            env=self.variables,
            start_new_session=True,
        )
