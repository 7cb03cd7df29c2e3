"""Virtual environments of programs: one for each set of requirements, whoever needs it.

A program with a `requirements.txt`, or else a `pyproject.toml` that describes a project, gets an environment by
`python -m venv` and `pip install`; any other gets none. Two releases with the same requirements share it. Where the
requirements name files of the source itself, the source counts as a part of them.

An environment knows its own place, so it is made where it stays, and a mark says that it is complete.
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

OnOutput = Callable[[bytes], None]
"""Is called in the loop with output as it comes; it returns at once and raises nothing."""

Run = Callable[[Sequence[str], Path, Mapping[str, str], OnOutput], Awaitable[int]]
"""Runs a command line in a folder with an environment, and returns its exit status; negative means a signal.

Cancelled, it ends the command and all that the command started before it raises.
"""

FailureState = Literal["virtual environment failure", "pip install failure"]

_REQUIREMENTS = "requirements.txt"
_PROJECT = "pyproject.toml"
_COMPLETE = "complete"
_REMEMBERED = 64 * 1024
_LAST_LINES = 20
_LOOK_SECONDS = 0.25
MOST_REQUIREMENTS = 1024 * 1024
"""Bytes; a larger `requirements.txt` is refused."""
MOST_PROJECT = 128 * 1024
"""Bytes; a larger `pyproject.toml` is refused."""
MOST_DOTS = 200
"""In one line of a `pyproject.toml`: what tomllib does for a key grows with the square of its parts."""
# Nothing is given back once it has matched: a line costs as much as it is long.
_REQUIREMENT = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9._-]*+\s*+(?:\[[^\]]*+\]\s*+)?+(?:[(<>=!~][^@;/]*+|@\s*+https?://\S++\s*+)?+"
    r"(?:;.*+|(?:--hash[= ]\S++\s*+)*+)"
)
_OPTION = re.compile(
    r"(-i|--index-url|--extra-index-url|--no-index|--pre|--prefer-binary|--only-binary|--no-binary"
    r"|--require-hashes|--trusted-host)\b.*"
)


class EnvironmentFailure(SmartmobError):
    """The environment of a program cannot be made; `output` are the last lines that were written."""

    def __init__(self, state: FailureState, reason: str, output: Sequence[str] = ()) -> None:
        super().__init__(reason)
        self.state = state
        self.output = tuple(output)


@dataclass(frozen=True, slots=True)
class Recipe:
    """What an environment is made of: its key, what pip is to install, and whether it needs the source for that."""

    key: str
    install: tuple[str, ...]
    needs_source: bool


def recipe(root: Path, digest: str) -> Recipe | None:
    """Return the recipe for the source at `root`, whose archive has `digest`, or None when it needs no environment.

    Raises EnvironmentFailure when a file that says so cannot be read. It blocks: call it in a thread.
    """
    requirements, project = root / _REQUIREMENTS, root / _PROJECT
    try:
        if requirements.is_file():
            data = _read(requirements, MOST_REQUIREMENTS)
            needs_source = not stands_alone(data.decode())
            return Recipe(_key(data, digest if needs_source else ""), ("-r", _REQUIREMENTS), needs_source)
        if project.is_file() and _tables(_read(project, MOST_PROJECT)) & {"project", "build-system"}:
            return Recipe(_key(b"", digest), (".",), needs_source=True)
    except (OSError, ValueError, RecursionError) as error:
        name = _REQUIREMENTS if requirements.is_file() else _PROJECT
        why = "it is nested too deeply" if isinstance(error, RecursionError) else error
        raise EnvironmentFailure("pip install failure", f"{name} cannot be read: {why}") from None
    return None


def _read(path: Path, most: int) -> bytes:
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it has more than {most} bytes")
    return data


def _tables(data: bytes) -> set[str]:
    """Return the names at the top of a TOML document."""
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.count(b".") > MOST_DOTS:
            raise ValueError(f"line {number} has more than {MOST_DOTS} dots")
    return set(tomllib.loads(data.decode()))


def stands_alone(requirements: str) -> bool:
    """Tell whether requirements name nothing but projects and addresses: no other files, no folders."""
    for line in requirements.replace("\\\r\n", " ").replace("\\\n", " ").splitlines():
        text = re.sub(r"(^|\s)#.*", "", line).strip()
        if text and _REQUIREMENT.fullmatch(text) is None and _OPTION.fullmatch(text) is None:
            return False
    return True


def _key(requirements: bytes, digest: str) -> str:
    interpreter = (sys.version, sys.executable, sys.base_prefix, platform.machine())
    return hashlib.sha256(repr((requirements, digest, interpreter)).encode()).hexdigest()[:24]


class Environments:
    """The environments in `folder`, which nobody else uses. `open` it before use.

    `variables` is what the commands see of the service's environment; at most `at_once` are made at a time, and at
    least `least_free` bytes of the disk are left free.
    """

    def __init__(
        self,
        folder: Path,
        run: Run,
        tasks: TaskRegistry,
        variables: Mapping[str, str],
        *,
        at_once: int = 2,
        least_free: int = 0,
    ) -> None:
        self._folder = folder
        self._run = run
        self._variables = variables
        self._least_free = least_free
        self._threads = Threads(at_once)
        self._slots = asyncio.Semaphore(at_once)
        self._flights: SingleFlight[bytes, Path] = SingleFlight(
            "environment", tasks, lambda old, new: (old + new)[-_REMEMBERED:]
        )

    async def open(self) -> None:
        """Make the folder, and remove what was not completed when the service ended last."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for place in list(self._folder.iterdir()):
            if not (place / _COMPLETE).exists():
                await asyncio.to_thread(remove_tree, place)

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.close()

    async def provide(self, root: Path, digest: str, on_output: OnOutput) -> Path | None:
        """Return the folder of the environment for the source at `root`, made if it is not there yet.

        None is returned when the source needs none. `on_output` gets what the commands write, also what they wrote
        before this caller joined (the last 64 KiB). Raises EnvironmentFailure.
        """
        if not (root / _REQUIREMENTS).exists() and not (root / _PROJECT).exists():
            return None  # most have neither, and the way to a thread and back takes longer than these looks
        wanted = await asyncio.to_thread(recipe, root, digest)
        if wanted is None:
            return None
        place = self._folder / wanted.key
        if wanted.key not in self._flights and (place / _COMPLETE).exists():
            os.utime(place)
            return place / "venv"

        async def work(tell: OnOutput) -> Path:
            async with self._slots:
                return await self._make(root, place, wanted, tell)

        return await self._flights.join(wanted.key, work, on_output)

    def set_aside(self, used: Collection[Recipe | None], before: float, trash: Callable[[Path], None]) -> None:
        """Hand those environments to `trash` that are none of `used`, not being made, and last asked for `before`."""
        keys = {item.key for item in used if item is not None}
        for place in list(self._folder.iterdir()):
            if place.name not in keys and place.name not in self._flights and place.stat().st_mtime < before:
                trash(place)

    async def _make(self, root: Path, place: Path, wanted: Recipe, tell: OnOutput) -> Path:
        await asyncio.to_thread(remove_tree, place)
        try:
            place.mkdir()
            if wanted.needs_source:
                # pip builds inside the source, and an editable install stays there.
                await self._threads.run(lambda stop: self._copy(root, place, stop))
                root = place / "source"
            venv = place / "venv"
            await self._step(
                "virtual environment failure", [sys.executable, "-m", "venv", str(venv)], place, self._variables, tell
            )
            pip = [str(venv / "bin" / "python"), "-m", "pip", "install", "--progress-bar", "off", *wanted.install]
            await self._step("pip install failure", pip, root, self._inside(venv), tell)
            (place / _COMPLETE).touch()
        except BaseException as error:
            await asyncio.to_thread(remove_tree, place)
            if isinstance(error, OSError):
                said = f"the environment cannot be made: {error.strerror or error}"
                raise EnvironmentFailure("virtual environment failure", said) from None
            raise
        return venv

    def _copy(self, root: Path, place: Path, stop: threading.Event) -> None:
        copy_tree(root, place / "source", stop, Floor(place, self._least_free))

    def _inside(self, venv: Path) -> dict[str, str]:
        path = self._variables.get("PATH", os.defpath)
        return {
            **self._variables,
            "VIRTUAL_ENV": str(venv),
            "PATH": f"{venv / 'bin'}{os.pathsep}{path}",
            "PIP_DISABLE_PIP_VERSION_CHECK": "1",
            "PIP_NO_INPUT": "1",
        }

    async def _step(
        self, state: FailureState, command: Sequence[str], cwd: Path, variables: Mapping[str, str], tell: OnOutput
    ) -> None:
        """Run one command; raises EnvironmentFailure with the last lines of its output unless it succeeds."""
        written = b""

        def on_output(data: bytes) -> None:
            nonlocal written
            written = (written + data)[-_REMEMBERED:]
            tell(data)

        shown = " ".join(command[1:])
        try:
            async with self._room():
                status = await self._run(command, cwd, variables, on_output)
        except DiskLow as error:
            raise EnvironmentFailure(state, f"`python {shown}` was stopped: {error.strerror}") from None
        except OSError as error:
            raise EnvironmentFailure(state, f"{command[0]} cannot be run: {error.strerror or error}") from None
        if status:
            lines = written.decode(errors="replace").splitlines()[-_LAST_LINES:]
            how = f"was killed by signal {-status}" if status < 0 else f"ended with {status}"
            raise EnvironmentFailure(state, f"`python {shown}` {how}", lines)

    @asynccontextmanager
    async def _room(self) -> AsyncIterator[None]:
        """Cancel what is in the block, and raise DiskLow, once too little of the disk is free."""
        loop = asyncio.get_running_loop()
        low: list[DiskLow] = []
        timers: list[asyncio.TimerHandle] = []

        def look() -> None:
            try:
                check_free(self._folder, 0, self._least_free)
            except DiskLow as error:
                low.append(error)
                scope.reschedule(loop.time())
            else:
                timers[:] = [loop.call_later(_LOOK_SECONDS, look)]

        try:
            async with asyncio.timeout(None) as scope:
                look()
                yield
        except TimeoutError:
            if low:
                raise low[0] from None
            raise
        finally:
            for timer in timers:
                timer.cancel()
