"""The two sides of an experiment: git revisions, folders, wheels or commands, and the Python that runs their tests."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Mapping, Sequence
from contextvars import ContextVar
from pathlib import Path

import msgspec
from msgspec.structs import replace

from smartmob.environment import environment
from smartmob.errors import InvalidInput
from smartmob.experiments import git_repository
from smartmob.experiments.cleaner import Workplace
from smartmob.experiments.model import SideReport
from smartmob.experiments.submodules import fill, submodules

_PROJECT_FILES = ("pyproject.toml", "setup.py", "setup.cfg")
_REQUIREMENTS = ("requirements.txt", "requirements-test.txt", "requirements-tests.txt", "test-requirements.txt")
_SHOWN_LINES = 15  # of a command that failed

SENT: ContextVar[Mapping[str, Side]] = ContextVar("sent", default={})  # noqa: B039  # it is never changed in place
"""The sides that another machine has sent, by the texts that name them there."""

PROBE = """
import importlib.util, json, platform, sys
found = lambda name: importlib.util.find_spec(name) is not None
names = ("pytest", "pytest_cov", "xdist", "pytest_randomly", "pytest_benchmark", "pytest_timeout", "random_order")
print(json.dumps({"python": sys.executable, "version": platform.python_version(),
                  "modules": [name for name in names if found(name)]}))
"""
"""A program that describes its interpreter and lists the known plugins of its environment."""


class Interpreter(msgspec.Struct, frozen=True):
    """The Python of a side: its path, version, and the known plugins that are installed."""

    path: str
    version: str
    modules: frozenset[str]


class Side(msgspec.Struct, frozen=True):
    """One side. `folder` is where its tests run; with `command` it is a program instead of a test suite.

    `unpacked` is the folder to which the modules of a wheel were unpacked, or the environment in which it is installed;
    `absent` are the submodules of a revision that are not in this clone.
    """

    given: str
    kind: str
    folder: Path
    commit: str = ""
    wheel: Path | None = None
    command: tuple[str, ...] = ()
    python: Interpreter | None = None
    unpacked: Path | None = None
    absent: tuple[str, ...] = ()

    @property
    def home(self) -> Path:
        """Return the folder below which all its own modules are."""
        return self.unpacked or self.folder

    @property
    def import_path(self) -> list[Path]:
        """Return the folders from which its own modules are imported, before those of the environment."""
        if self.wheel is not None:
            return [] if self.unpacked is None or (self.unpacked / "pyvenv.cfg").exists() else [self.unpacked]
        if self.command:
            return []
        source = self.folder / "src"
        return [source, self.folder] if source.is_dir() else [self.folder]

    def modules(self) -> list[str]:
        """Return the names of its packages and modules, which may come from nowhere else."""
        found = set()
        if self.wheel is not None:
            with _opened(self.wheel) as archive:
                parts = [name.split("/") for name in archive.namelist()]
            found = {first for first, *rest in parts if rest == ["__init__.py"]}
            found |= {first.removesuffix(".py") for first, *rest in parts if not rest and first.endswith(".py")}
        for folder in () if self.wheel is not None else self.import_path:
            found |= {path.parent.name for path in folder.glob("*/__init__.py")}
            found |= {path.stem for path in folder.glob("*.py") if path.stem not in ("setup", "conftest")}
        return sorted(name for name in found if name.isidentifier() and not name.startswith("test"))

    def report(self) -> SideReport:
        """Return the notes about this side, for people."""
        return SideReport(self.given, self.kind, self.commit, "" if self.python is None else self.python.version)


def resolve(given: str, name: str, workplace: Workplace, here: Path) -> Side:
    """Return the side of a folder, a wheel or a git revision; a revision gets a worktree.

    Raises InvalidInput.
    """
    if given in SENT.get():
        return SENT.get()[given]
    path = Path(given)
    if given and path.is_dir():
        return Side(given, "folder", path.resolve())
    if path.suffix == ".whl":
        if not path.is_file():
            raise InvalidInput(f"there is no wheel {given}")
        return Side(given, "wheel", here, wheel=path.resolve())
    return checked_out(given, git_repository.commit_of_side(here, given), name, workplace, here)


def checked_out(given: str, commit: str, name: str, workplace: Workplace, here: Path) -> Side:
    """Return the side of a commit in a new worktree, which replaces the one of this name. Raises InvalidInput."""
    common = git(here, "rev-parse", "--path-format=absolute", "--git-common-dir")
    prefix = git(here, "rev-parse", "--show-prefix")
    assert common is not None
    workplace.add_repository(Path(common))
    target = workplace.folder / f"side-{name}"
    if target.exists():
        git(here, "worktree", "remove", "--force", "--force", str(target))
        shutil.rmtree(target, ignore_errors=True)
    # git writes into the repository, so the folder is removed only after git has ended, even if this process is killed.
    awaited = workplace.awaited()
    try:
        words = ("worktree", "add", "--detach", "--force", str(target), commit)
        added = git_repository.run(here, *words, passed=(awaited,))
    finally:
        os.close(awaited)
    if added.returncode:
        raise InvalidInput(f"git cannot make a worktree of {given}: {last_line(added.stderr)}")
    absent = []
    for each in submodules(Path(common), commit):
        if each.repository is None:
            absent.append(each.path)
        else:
            fill(target, each)
    folder = target / (prefix or "")
    if not folder.is_dir():
        raise InvalidInput(f"the folder {prefix} does not exist in {given}")
    return Side(given, "revision", folder, commit, absent=tuple(absent))


def uncommitted(here: Path) -> bool:
    """Return whether files that are tracked by git have uncommitted changes."""
    return bool(git(here, "status", "--porcelain", "--untracked-files=no"))


def prepare(sides: Sequence[Side], workplace: Workplace, python: str | None, extra: Sequence[str]) -> list[Side]:
    """Return the sides with their interpreters: `python` for both, or new environments.

    `extra` are arguments for the installation. Both get one environment if they need the same packages and neither has
    compiled modules. Wheels are unpacked for an environment that exists. Raises InvalidInput.
    """
    if python is not None:
        found = probe(python)
        return [
            replace(side, python=found, unpacked=_unpacked(side, workplace.folder / f"wheel-{name}"))
            for side, name in zip(sides, "ab", strict=True)
        ]
    environments = [workplace.folder / "env-a", workplace.folder / "env-b"]
    found = made_environment(sides[0], environments[0], extra)
    first = replace(sides[0], python=found, unpacked=environments[0] if sides[0].wheel else None)
    if requirements_of(sides[0]) == requirements_of(sides[1]) and not any(map(is_compiled, sides)):
        return [first, replace(sides[1], python=found, unpacked=first.unpacked)]
    found = made_environment(sides[1], environments[1], extra)
    return [first, replace(sides[1], python=found, unpacked=environments[1] if sides[1].wheel else None)]


def _unpacked(side: Side, target: Path) -> Path | None:
    """Return the new folder with the modules of the wheel of a side, or None if it is not a wheel."""
    if side.wheel is None:
        return None
    with _opened(side.wheel) as archive:
        archive.extractall(target)  # its code is run anyway; zipfile leaves out paths that lead elsewhere
    return target


def _opened(wheel: Path) -> zipfile.ZipFile:
    try:
        return zipfile.ZipFile(wheel)
    except (OSError, zipfile.BadZipFile) as error:
        raise InvalidInput(f"{wheel} cannot be read as a wheel: {error}") from None


def probe(python: str) -> Interpreter:
    """Return the description of an interpreter; raises InvalidInput when it cannot be run or has no pytest."""
    path = shutil.which(python)
    if path is None:
        raise InvalidInput(f"there is no Python at {python}")
    done = _run([path, "-c", PROBE])
    try:
        found = json.loads(done.stdout.splitlines()[-1])
        result = Interpreter(found["python"], found["version"], frozenset(found["modules"]))
    except (ValueError, IndexError, KeyError):
        raise InvalidInput(f"{python} is not a usable Python: {last_line(done.stderr)}") from None
    if "pytest" not in result.modules:
        raise InvalidInput(f"{python} has no pytest: install it there, or name another one with --python")
    return result


def made_environment(side: Side, target: Path, extra: Sequence[str]) -> Interpreter:
    """Make an environment with the project of a side, its requirements, pytest and `extra`; raises InvalidInput."""
    uv = shutil.which("uv")
    python = target / "bin" / "python"
    making = [uv, "venv", "-q", "--python", sys.executable] if uv else [sys.executable, "-m", "venv"]
    installing = [uv, "pip", "install", "-q", "--python", str(python)] if uv else [str(python), "-m", "pip", "install"]
    words: list[str] = []
    if side.wheel is not None:
        words = [str(side.wheel)]
    elif any((side.folder / name).exists() for name in _PROJECT_FILES):
        words = ["-e", str(side.folder)]
    for name in _REQUIREMENTS if side.wheel is None else ():
        words += ["-r", str(side.folder / name)] if (side.folder / name).is_file() else []
    for command in ([*making, str(target)], [*installing, *words, "pytest", *extra]):
        done = _run(command, cwd=side.folder)
        if done.returncode:
            lines = "\n".join(f"{done.stdout}{done.stderr}".splitlines()[-_SHOWN_LINES:])
            raise InvalidInput(
                f"the environment of {side.given} cannot be created; name one with the requirements of the tests with "
                f"--python:\n{lines}"
            )
    return probe(str(python))


def requirements_of(side: Side) -> dict[str, bytes]:
    """Return the files with the requirements of a side, and their content; a wheel needs an environment of its own."""
    if side.wheel is not None:
        return {str(side.wheel): b""}
    paths = (side.folder / name for name in (*_PROJECT_FILES, *_REQUIREMENTS))
    return {path.name: path.read_bytes() for path in paths if path.is_file()}


def is_compiled(side: Side) -> bool:
    """Return whether some modules of a side are compiled, so that an environment can only have those of one side."""
    return any(next(side.folder.rglob(pattern), None) for pattern in ("*.so", "*.pyx", "*.c", "Cargo.toml"))


def git(here: Path, *words: str) -> str | None:
    """Return the output of git without spaces around it, or None when it fails or does not exist."""
    done = git_repository.run(here, *words)
    return done.stdout.strip() if done.returncode == 0 else None


def _run(command: Sequence[str], cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end without input; a missing one ends with 127, as in a shell."""
    env = git_repository.without_repository(environment())
    try:
        return subprocess.run(
            command, cwd=cwd, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, errors="replace",
            check=False,
        )  # fmt: skip
    except OSError as error:
        return subprocess.CompletedProcess(list(command), 127, "", f"{command[0]}: {os.strerror(error.errno or 0)}")


def last_line(text: str) -> str:
    """Return the last line of an output that has more than spaces."""
    return next((line for line in reversed(text.splitlines()) if line.strip()), "it printed nothing")
