"""The distributions, built like a release, and environments with the installed wheel instead of the checkout."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from importlib.metadata import Distribution, distribution
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.shared import SHARED

ROOT = Path(__file__).parents[2]
_SITE = Path(sysconfig.get_path("purelib"))
_MADE = (".git", ".venv", ".cache", ".tox", "build", "dist", "_build", "*.egg-info", "__pycache__", ".*_cache")
_LAST = 3000


class BuildError(Exception):
    """The distributions cannot be built or installed."""


@cache
def distributions() -> Path:
    """Return the folder of the sdist, and of the wheel that was built from it; one process builds them for a run."""

    def make(folder: Path) -> None:
        source = folder / "source"
        shutil.copytree(ROOT, source, ignore=shutil.ignore_patterns(*_MADE), symlinks=True)
        _run(sys.executable, "-m", "build", "--no-isolation", "--outdir", folder / "dist", source)

    return made("built", make) / "dist"


@cache
def programs() -> Path:
    """Return the folder of the commands of an environment with the wheel and the packages of the test environment."""

    def make(folder: Path) -> None:
        site = environment_with_wheel(folder)
        # A folder that is named in a file adds its modules, but its own such files are not read: the one that leads
        # to the checkout neither.
        (site / "dependencies.pth").write_text(f"{_SITE}\n")

    return made("installed", make) / "bin"


@cache
def light_programs() -> Path:
    """Return the folder of the commands of an environment with the wheel and its requirements without extras."""

    def make(folder: Path) -> None:
        link_required(environment_with_wheel(folder), "smartmob")

    return made("light", make) / "bin"


@cache
def python_with_pytest(*plugins: str) -> Path:
    """Return the Python of an environment with pytest, plugins and their requirements, which no other slows down."""

    def make(folder: Path) -> None:
        venv.create(folder, symlinks=True)
        site = next((folder / "lib").glob("python*/site-packages"))
        for name in ("pytest", *plugins):
            _link(site, (distribution(name), *required(name)))

    return made("-".join(("pytest", *plugins)), make) / "bin" / "python"


def environment_with_wheel(folder: Path) -> Path:
    """Make an environment at `folder` with the wheel only, and return the folder of its modules."""
    venv.create(folder, symlinks=True)
    wheel = next(distributions().glob("*.whl"))
    options = ("--no-deps", "--no-index", "--quiet", "--disable-pip-version-check")
    _run(sys.executable, "-m", "pip", "--python", folder / "bin" / "python", "install", *options, wheel)
    return next((folder / "lib").glob("python*/site-packages"))


def link_required(site: Path, wanted: str) -> None:
    """Let the folder `site` have the packages that `smartmob`, or `smartmob[EXTRA,…]`, requires, and no others."""
    _link(site, required(wanted))


def _link(site: Path, distributions: Iterable[Distribution]) -> None:
    for found in distributions:
        for entry in {file.parts[0] for file in found.files or () if file.parts[0] != ".."} - {"__pycache__"}:
            # A new environment can have setuptools, which one of them requires.
            if not (site / entry).exists():
                (site / entry).symlink_to(_SITE / entry)


def required(name: str) -> Iterator[Distribution]:
    """Yield the direct and indirect requirements of a distribution, with those extras that are named, each once."""
    seen, waiting = set[str](), [Requirement(name)]
    itself = waiting[0].name
    while waiting:
        wanted = waiting.pop()
        found = distribution(wanted.name)
        extras = [{"extra": extra} for extra in ("", *wanted.extras)]
        for line in found.requires or ():
            further = Requirement(line)
            applies = further.marker is None or any(further.marker.evaluate(extra) for extra in extras)
            if applies and (key := canonicalize_name(further.name)) not in seen:
                seen.add(key)
                waiting.append(further)
        if wanted.name != itself:
            yield found


def made(name: str, make: Callable[[Path], None]) -> Path:
    """Return the folder of this name, which one process of the test run makes for all."""
    folder = Path(os.environ[SHARED]) / name
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = folder.with_suffix(".done")
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder


def _run(*command: str | Path) -> None:
    # A folder of modules, or an option of the Python that runs the tests, must not reach into the environment.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise BuildError(f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout[-_LAST:]}")
