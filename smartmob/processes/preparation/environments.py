"""Virtual environments of programs: one for each set of requirements, shared by all programs that need it.

A program with a `requirements.txt`, or else a `pyproject.toml` that describes a project, gets an environment by
`python -m venv` and `pip install`; any other gets none. When the requirements name files of the source, the digest of
the source is a part of the key of the environment.

A virtual environment contains its own path and cannot be moved. So it is built in its final folder, and a file
`complete` marks it as complete.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import platform
import re
import sys
import threading
import tomllib
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from smartmob.errors import SmartmobError
from smartmob.kernel.runtime.disk import DiskLow, Floor, check_free
from smartmob.kernel.runtime.tasks import TaskRegistry
from smartmob.processes.preparation.file_tree import Threads, copy_tree, remove_tree
from smartmob.processes.preparation.single_flight import SingleFlight
from smartmob.processes.spawned_program import OnOutput

RunCommand = Callable[[Sequence[str], Path, Mapping[str, str], OnOutput], Awaitable[int]]
"""Runs a command line in a folder with an environment, and returns its exit status; negative: the number of a signal.

When it is cancelled, it ends the command and all its descendants before it raises.
"""

FailureState = Literal["virtual environment failure", "pip install failure"]

_REQUIREMENTS = "requirements.txt"
_PROJECT = "pyproject.toml"
_COMPLETE = "complete"
_KEPT_OUTPUT_BYTES = 64 * 1024
_SHOWN_LINES = 20
_DISK_CHECK_SECONDS = 0.25
MOST_REQUIREMENTS = 1024 * 1024
"""Limit of a `requirements.txt`, in bytes."""
MOST_PROJECT = 128 * 1024
"""Limit of a `pyproject.toml`, in bytes."""
MOST_DOTS = 200
"""Limit of dots in a line of a `pyproject.toml`: the time of tomllib grows with the square of a key's parts."""
# The quantifiers are possessive, so there is no backtracking: the time is linear in the length of a line.
_REQUIREMENT = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*+\s*+(?:\[[^\]]*+\]\s*+)?+(?:[(<>=!~][^@;/]*+|@\s*+https?://\S++\s*+)?+"
    r"(?:;.*+|(?:--hash[= ]\S++\s*+)*+)"
)
_OPTION = re.compile(
    r"(-i|--index-url|--extra-index-url|--no-index|--pre|--prefer-binary|--only-binary|--no-binary"
    r"|--require-hashes|--trusted-host)\b.*"
)


class EnvironmentFailure(SmartmobError):
    """The environment of a program cannot be made; `output` has the last lines of the command that failed."""

    def __init__(self, state: FailureState, reason: str, output: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.state = state
        self.output = tuple(output)


@dataclass(frozen=True, slots=True)
class Recipe:
    """The recipe of an environment: its key, the arguments of `pip install`, and whether pip needs the source."""

    key: str
    install: tuple[str, ...]
    needs_source: bool


def recipe(root: Path, digest: str) -> Recipe | None:
    """Return the recipe for the source at `root` from the archive `digest`, or None when it needs no environment.

    Raises EnvironmentFailure when its requirements cannot be read. It blocks: call it in a thread.
    """
    requirements, project = root / _REQUIREMENTS, root / _PROJECT
    try:
        if requirements.is_file():
            data = _read(requirements, MOST_REQUIREMENTS)
            needs_source = not is_self_contained(data.decode())
            return Recipe(_key(data, digest if needs_source else ""), ("-r", _REQUIREMENTS), needs_source)
        if project.is_file() and _tables(_read(project, MOST_PROJECT)) & {"project", "build-system"}:
            return Recipe(_key(b"", digest), (".",), needs_source=True)
    except (OSError, ValueError, RecursionError) as error:
        name = _REQUIREMENTS if requirements.is_file() else _PROJECT
        reason = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise EnvironmentFailure("pip install failure", f"{name} cannot be read: {reason}") from None
    return None


def _read(path: Path, limit: int) -> bytes:
    """Return the content of a file; raises ValueError for more than `limit` bytes."""
    with path.open("rb") as file:
        data = file.read(limit + 1)
    if len(data) > limit:
        raise ValueError(f"it has more than {limit} bytes")
    return data


def _tables(data: bytes) -> set[str]:
    """Return the names at the top level of a TOML document."""
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.count(b".") > MOST_DOTS:
            raise ValueError(f"line {number} has more than {MOST_DOTS} dots")
    return set(tomllib.loads(data.decode()))


def is_self_contained(requirements: str) -> bool:
    """Return whether requirements name only projects and addresses, and no files or folders of the source."""
    for line in requirements.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if text and _REQUIREMENT.fullmatch(text) is None and _OPTION.fullmatch(text) is None:
            return False
    return True


def _key(requirements: bytes, digest: str) -> str:
    """Return the key of an environment: a hash of the requirements, the digest and the Python interpreter."""
    interpreter = (sys.version, sys.executable, sys.base_prefix, platform.machine())
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

    async def provide(self, root: Path, digest: str, on_output: OnOutput) -> Path | None:
        """Return the folder of the environment for the source at `root`, or None when it needs none.

        It is built when it does not exist. `on_output` gets the output of the commands, and the last 64 KiB of what
        they wrote before this call joined. Raises EnvironmentFailure.
        """
        if not (root / _REQUIREMENTS).exists() and not (root / _PROJECT).exists():
            return None  # the common case; a switch to a thread would take longer than these two checks
        needed = await asyncio.to_thread(recipe, root, digest)
        if needed is None:
            return None
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
            create = [sys.executable, "-m", "venv", str(venv)]
            await self._step("virtual environment failure", create, folder, self._variables, on_output)
            pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--progress-bar", "off", *needed.install]
            await self._step("pip install failure", pip, root, self._pip_variables(venv), on_output)
            (folder / _COMPLETE).touch()
        except BaseException as error:
            await asyncio.to_thread(remove_tree, folder)
            if isinstance(error, OSError):
                reason = f"the environment cannot be made: {error.strerror or error}"
                raise EnvironmentFailure("virtual environment failure", reason) from None
            raise
        return venv

    def _copy(self, root: Path, folder: Path, stop: threading.Event) -> None:
        copy_tree(root, folder / "source", stop, Floor(folder, self._least_free))

    def _pip_variables(self, venv: Path) -> dict[str, str]:
        """Return the variables for pip: those of an activated environment, and no prompts."""
        path = self._variables.get("PATH", os.defpath)
        return {
            **self._variables,
            "VIRTUAL_ENV": str(venv),
            "PATH": f"{venv / 'bin'}{os.pathsep}{path}",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
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

        shown = " ".join(command[1:])
        try:
            async with self._disk_watched():
                status = await self._run(command, cwd, variables, keep)
        except DiskLow as error:
            raise EnvironmentFailure(state, f"`python {shown}` was stopped: {error.strerror}") from None
        except OSError as error:
            raise EnvironmentFailure(state, f"{command[0]} cannot be run: {error.strerror or error}") from None
        if status:
            lines = written.decode(errors="replace").splitlines()[-_SHOWN_LINES:]
            outcome = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
            raise EnvironmentFailure(state, f"`python {shown}` {outcome}", lines)

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
