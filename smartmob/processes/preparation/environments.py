"""Virtual environments of programs: one for each set of requirements, shared by all programs that need it.

A program that names requirements or a version of Python gets an environment by `python -m venv` and a command such as
`pip install`; any other gets none. When the requirements name files of the source, the digest of the source is a part
of the key of the environment.

A virtual environment contains its own path and cannot be moved. So it is built in its final folder, and a file
`complete` marks it as complete.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import sys
import threading
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import msgspec

from smartmob.errors import SmartmobError
from smartmob.kernel.runtime.disk import DiskLow, Floor, check_free
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes.preparation.file_tree import Threads, copy_tree, remove_tree
from smartmob.processes.preparation.interpreters import (
    MOST_VERSION_BYTES,
    Interpreter,
    NoInterpreter,
    choose,
    version_file,
)
from smartmob.processes.preparation.requirements import (
    PROJECT,
    REQUIREMENTS,
    Installation,
    MissingTool,
    decoded,
    installation,
)
from smartmob.processes.preparation.single_flight import SingleFlight
from smartmob.processes.spawned_program import OnOutput

RunCommand = Callable[[Sequence[str], Path, Mapping[str, str], OnOutput], Awaitable[int]]
"""Runs a command line in a folder with an environment, and returns its exit status; negative: the number of a signal.

When it is cancelled, it ends the command and all its descendants before it raises.
"""

FailureState = Literal["virtual environment failure", "pip install failure"]

_COMPLETE = "complete"
_KEPT_OUTPUT_BYTES = 64 * 1024
_SHOWN_LINES = 20
_DISK_CHECK_SECONDS = 0.25


class EnvironmentFailure(SmartmobError):
    """The environment of a program cannot be made; `output` has the last lines of the command that failed."""

    def __init__(self, state: FailureState, reason: str, output: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.state = state
        self.output = tuple(output)


class Recipe(msgspec.Struct, frozen=True):
    """The recipe of an environment: its key, the Python that makes it, and the installation, if there is one.

    `remarks` are lines for the owner of the program.
    """

    key: str
    python: str
    installation: Installation | None
    remarks: tuple[str, ...] = ()

    @property
    def needs_source(self) -> bool:
        """True when the installation reads files of the source."""
        return self.installation is not None and self.installation.needs_source


def recipe(root: Path, digest: str, variables: Mapping[str, str]) -> Recipe | None:
    """Return the recipe for the source at `root` from the archive `digest`, or None when it needs no environment.

    `variables` has the PATH of the tools. Raises EnvironmentFailure when the files of the source cannot be read, or
    require something that is not installed. It blocks: call it in a thread.
    """
    try:
        found = installation(root, variables.get("PATH", os.defpath))
    except MissingTool as error:
        raise EnvironmentFailure("pip install failure", str(error)) from None
    except (OSError, ValueError, RecursionError) as error:
        name = REQUIREMENTS if (root / REQUIREMENTS).is_file() else PROJECT
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise EnvironmentFailure("pip install failure", f"{name} cannot be read: {reason}") from None
    python = _interpreter(root, variables)
    if found is None and python is None:
        return None
    text, needs_source = (found.text, found.needs_source) if found is not None else (b"", False)
    tool = found.command[0] if found is not None else ""
    path = sys.executable if python is None else python.path
    key = _key(text, digest if needs_source else "", path, tool)
    remarks = (found.remark if found is not None else "", python.remark if python is not None else "")
    return Recipe(key, path, found, tuple(filter(None, remarks)))


def _interpreter(root: Path, variables: Mapping[str, str]) -> Interpreter | None:
    """Return the Python that the source asks for, or None when it asks for none; raises EnvironmentFailure."""
    name = version_file(root)
    if name is None:
        return None
    try:
        with (root / name).open("rb") as file:
            return choose(name, decoded(file.read(MOST_VERSION_BYTES)), variables)
    except NoInterpreter as error:
        raise EnvironmentFailure("virtual environment failure", str(error)) from None
    except (OSError, ValueError) as error:
        raise EnvironmentFailure("virtual environment failure", f"{name} cannot be read: {error}") from None


def _key(requirements: bytes, digest: str, python: str, tool: str) -> str:
    """Return the key of an environment: a hash of the requirements, the source's digest, the Python and the tool."""
    interpreter: tuple[str, ...] = (sys.version, sys.executable, sys.base_prefix, platform.machine())
    if python != sys.executable:
        interpreter += (python, os.path.realpath(python))
    if tool not in ("", "python"):
        interpreter += (tool,)
    return hashlib.sha256(repr((requirements, digest, interpreter)).encode()).hexdigest()[:24]


class Environments:
    """The environments in `folder`, which belongs to this object. Call `open` before use.

    `variables` is the environment of the commands. At most `concurrency` environments are built at a time, and at least
    `least_free` bytes of the disk stay free.
    """

    def __init__(
        self,
        folder: Path,
        run: RunCommand,
        tasks: TaskRegistry,
        variables: Mapping[str, str],
        *,
        concurrency: int = 2,
        least_free: int = 0,
    ) -> None:
        self._folder = folder
        self._run = run
        self._variables = variables
        self._least_free = least_free
        self._threads = Threads(concurrency)
        self._slots = asyncio.Semaphore(concurrency)
        self._builds: SingleFlight[bytes, Path] = SingleFlight(
            "environment", tasks, lambda old, new: (old + new)[-_KEPT_OUTPUT_BYTES:]
        )

    async def open(self) -> None:
        """Create the folder, and remove environments that an earlier service did not complete."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for path in list(self._folder.iterdir()):
            if not (path / _COMPLETE).exists():
                await asyncio.to_thread(remove_tree, path)

    def close(self) -> None:
        """Let the threads end."""
        self._threads.close()

    def recipe(self, root: Path, digest: str) -> Recipe | None:
        """Return the recipe for a source by the function `recipe`, with the variables of the commands."""
        return recipe(root, digest, self._variables)

    async def provide(self, root: Path, digest: str, on_output: OnOutput) -> Path | None:
        """Return the folder of the environment for the source at `root`, or None when it needs none.

        It is built when it does not exist. `on_output` gets the output of the commands, and the last 64 KiB of the
        output before this call joined. Raises EnvironmentFailure.
        """
        needed = await asyncio.to_thread(self.recipe, root, digest)
        if needed is None:
            return None
        for remark in needed.remarks:
            on_output(f"environment: {remark}\n".encode())
        folder = self._folder / needed.key
        if needed.key not in self._builds and (folder / _COMPLETE).exists():
            os.utime(folder)
            return folder / "venv"

        async def work(report: OnOutput) -> Path:
            async with self._slots:
                return await self._build(root, folder, needed, report)

        return await self._builds.join(needed.key, work, on_output)

    def remove_unused(self, used: Collection[Recipe | None], before: float, remove: Callable[[Path], None]) -> None:
        """Call `remove` for environments that are not in `used`, are not being built, and were last used `before`."""
        keys = {item.key for item in used if item is not None}
        for path in list(self._folder.iterdir()):
            if path.name not in keys and path.name not in self._builds and path.stat().st_mtime < before:
                remove(path)

    async def _build(self, root: Path, folder: Path, needed: Recipe, on_output: OnOutput) -> Path:
        """Build an environment in `folder` and return the path of its venv; remove `folder` when that fails."""
        await asyncio.to_thread(remove_tree, folder)
        try:
            folder.mkdir()
            if needed.needs_source:
                # pip writes into the source when it builds it, and an editable install refers to it.
                await self._threads.run(lambda stop: self._copy(root, folder, stop))
                root = folder / "source"
            venv = folder / "venv"
            create = [needed.python, "-m", "venv", str(venv)]
            await self._step("virtual environment failure", create, folder, self._variables, on_output)
            if needed.installation is not None:
                tool, *arguments = needed.installation.command
                install = [str(venv / "bin" / "python") if tool == "python" else tool, *arguments]
                await self._step("pip install failure", install, root, self._tool_variables(venv), on_output)
            (folder / _COMPLETE).touch()
        except BaseException as error:
            await asyncio.to_thread(remove_tree, folder)
            if isinstance(error, OSError):
                reason = f"the environment cannot be created: {error.strerror or error}"
                raise EnvironmentFailure("virtual environment failure", reason) from None
            raise
        return venv

    def _copy(self, root: Path, folder: Path, stop: threading.Event) -> None:
        copy_tree(root, folder / "source", stop, Floor(folder, self._least_free))

    def _tool_variables(self, venv: Path) -> dict[str, str]:
        """Return the variables for pip and the other tools: those of an activated environment, and no prompts.

        uv would make its own environment and download a Python; poetry and pipenv take the activated one.
        """
        path = self._variables.get("PATH", os.defpath)
        return {
            **self._variables,
            "VIRTUAL_ENV": str(venv),
            "PATH": f"{venv / 'bin'}{os.pathsep}{path}",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
            "UV_PROJECT_ENVIRONMENT": str(venv),
            "UV_PYTHON_DOWNLOADS": "never",
            "UV_NO_PROGRESS": "1",
            "PIPENV_NOSPIN": "1",
            "PIPENV_VERBOSITY": "-1",
        }

    async def _step(
        self, state: FailureState, command: Sequence[str], cwd: Path, variables: Mapping[str, str], on_output: OnOutput
    ) -> None:
        """Run one command; raises EnvironmentFailure with the last lines of its output unless it succeeds."""
        written = b""

        def keep(data: bytes) -> None:
            nonlocal written
            written = (written + data)[-_KEPT_OUTPUT_BYTES:]
            on_output(data)

        name = "python" if "python" in os.path.basename(command[0]) else os.path.basename(command[0])
        shown = " ".join((name, *command[1:]))
        try:
            async with self._disk_watched():
                status = await self._run(command, cwd, variables, keep)
        except DiskLow as error:
            raise EnvironmentFailure(state, f"`{shown}` was stopped: {error.strerror}") from None
        except OSError as error:
            raise EnvironmentFailure(state, f"{command[0]} cannot be run: {error.strerror or error}") from None
        if status:
            lines = written.decode(errors="replace").splitlines()[-_SHOWN_LINES:]
            outcome = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
            raise EnvironmentFailure(state, f"`{shown}` {outcome}", lines)

    @asynccontextmanager
    async def _disk_watched(self) -> AsyncIterator[None]:
        """Check the free space regularly; when it is too little, cancel the block and raise DiskLow."""
        loop = asyncio.get_running_loop()
        low: list[DiskLow] = []
        timers: list[asyncio.TimerHandle] = []

        def check() -> None:
            try:
                check_free(self._folder, 0, self._least_free)
            except DiskLow as error:
                low.append(error)
                scope.reschedule(loop.time())
            else:
                timers[:] = [loop.call_later(_DISK_CHECK_SECONDS, check)]

        try:
            async with asyncio.timeout(None) as scope:
                check()
                yield
        except TimeoutError:
            if low:
                raise low[0] from None
            raise
        finally:
            for timer in timers:
                timer.cancel()
