"""Children with an environment of their own: nothing of the outer test run, of a CI or of the user reaches them."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import tempfile
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

COMMIT = "90a8bcc1f6a5a7c0ac1d3e5c2f20ed6d4b1c9e77"
FREQUENCY = 2596.122

_INHERITED = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR")
_SECONDS = 800.0


@dataclass(frozen=True, slots=True)
class Ended:
    """The exit code and the output of a child process."""

    code: int
    output: str

    @property
    def counts(self) -> dict[str, int]:
        """Return what pytest counted, as in `{"passed": 3, "failed": 1}`; warnings are left out."""
        last = [line for line in self.output.splitlines() if re.search(r" in \d+\.\d+s", line)][-1]
        found = {
            name: int(number) for number, name in re.findall(r"(\d+) (passed|failed|errors?|skipped|xfailed)", last)
        }
        if "error" in found:
            found["errors"] = found.pop("error")
        return found


def clean_environment(home: Path, further: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the variables of a child whose home is `home`."""
    inherited = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    return inherited | {"HOME": str(home), "PYTHONUTF8": "1"} | dict(further or {})


async def run(command: Sequence[str | Path], folder: Path, env: Mapping[str, str], given: bytes | None = None) -> Ended:
    """Run a command until it ends; with its group of processes it is killed at the deadline, which fails the test."""
    with tempfile.TemporaryFile() as output:
        process = await asyncio.create_subprocess_exec(
            *command,
            cwd=folder,
            env=env,
            stdin=asyncio.subprocess.DEVNULL if given is None else asyncio.subprocess.PIPE,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            async with asyncio.timeout(_SECONDS):
                await process.communicate(given)
        except TimeoutError:
            pass
        finally:
            late = process.returncode is None
            if late:
                os.killpg(process.pid, signal.SIGKILL)
                await process.wait()
        output.seek(0)
        ended = Ended(process.returncode or 0, output.read().decode(errors="replace"))
    assert not late, f"still running after {_SECONDS:g} s:\n{ended.output}"
    return ended


async def run_script(python: Path, script: Path, home: Path, document: Any) -> Any:
    """Run one of our scripts by another Python: JSON goes in, JSON comes out."""
    ended = await run([python, script], home, clean_environment(home), json.dumps(document).encode())
    assert ended.code == 0, ended.output
    return json.loads(ended.output)


class Suite:
    """A test suite with a folder of its own, run by the Python of the plugin's environment.

    It lies in no repository, so a program named `git` answers for one; and the frequency of the processor, which is
    part of the hash of a context and changes all the time, is told to the plugin by the variables that it has for that.
    """

    def __init__(self, python: Path, folder: Path) -> None:
        self._python = python
        self.folder = folder / "suite"
        self._home = folder / "home"
        git = self._home / "bin" / "git"
        for made in (self.folder, git.parent):
            made.mkdir(parents=True)
        # Without it pytest looks for a configuration in all folders above.
        (self.folder / "pytest.ini").write_text("[pytest]\n")
        git.write_text(f"#!/bin/sh\necho {COMMIT}\n")
        git.chmod(0o755)

    def write(self, **modules: str) -> None:
        """Write test modules."""
        for name, text in modules.items():
            (self.folder / f"{name}.py").write_text(textwrap.dedent(text))

    async def run(self, url: str, *options: str, env: Mapping[str, str] | None = None, db: str | None = None) -> Ended:
        """Run the suite and send its measures to `url`; a database of its own is written only if `db` names it."""
        variables = clean_environment(self._home, env)
        variables["PATH"] = f"{self._home / 'bin'}{os.pathsep}{variables.get('PATH', os.defpath)}"
        variables |= {"PYTEST_MONITOR_FORCE_CPU_FREQ": "1", "PYTEST_MONITOR_CPU_FREQ": str(FREQUENCY)}
        return await run(
            [
                *(self._python, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", self.folder),
                *("--remote-server", url, *(("--db", db) if db else ("--no-db",)), *options),
            ],
            self.folder,
            variables,
        )
