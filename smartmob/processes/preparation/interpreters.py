"""The Python that a program asks for, by `runtime.txt` or `.python-version`, among those that are installed."""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import msgspec

VERSION_FILES = ("runtime.txt", ".python-version")
"""The files that name a version, in the order of precedence; it is the order of Heroku."""
MOST_VERSION_BYTES = 4096
"""Limit of a file that names a version."""
_VERSION = re.compile(r"(?:c?python[-@])?(\d{1,3})\.(\d{1,3})(?:\.(\d{1,3}))?")
# Python 2 has no venv.
_COMMAND = re.compile(r"python(3\.\d{1,3})")
_SHIMS = "shims"  # a folder of pyenv whose commands fail for versions that are not selected


class NoInterpreter(ValueError):
    """The Python that a program asks for is not here; the message says what is."""


class Interpreter(msgspec.Struct, frozen=True):
    """An installed Python: its path, and a remark if it is not exactly the requested one."""

    path: str
    remark: str = ""


def version_file(root: Path) -> str | None:
    """Return the name of the file of the source at `root` that names the version of Python, or None."""
    return next((name for name in VERSION_FILES if (root / name).is_file()), None)


def choose(name: str, text: str, variables: Mapping[str, str]) -> Interpreter:
    """Return the Python for the text of the file `name`. `variables` has the PATH, and the folder of pyenv.

    A version of two numbers matches any version that begins with them. With three numbers, if the exact version is
    missing, one with the same first two is used, with a remark. Raises NoInterpreter.
    """
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    wanted = next((line for line in lines if line), "")
    if wanted == "system":  # the word of pyenv
        return Interpreter(sys.executable)
    match = _VERSION.fullmatch(wanted)
    if match is None:
        raise NoInterpreter(f"{name} says {wanted[:80]!r}; a version of Python is needed, such as 3.12 or 3.12.4")
    minor, exact = f"{match[1]}.{match[2]}", ".".join(filter(None, match.groups()))
    found = _installed(variables)
    if exact in found:
        return Interpreter(found[exact])
    if minor in found:
        own = ".".join(map(str, sys.version_info[:3])) if found[minor] == sys.executable else minor
        return Interpreter(found[minor], f"{name} asks for Python {exact}, which is not installed here; {own} is used")
    names = ", ".join(sorted(found, key=lambda version: [int(part) for part in version.split(".")]))
    raise NoInterpreter(f"{name} asks for Python {exact}, which is not installed here; there is {names}")


def _installed(variables: Mapping[str, str]) -> dict[str, str]:
    """Return the path of each installed Python by its version, with two numbers, and with three if they are known.

    These are the service's own, `python3.12` and the like on the PATH, and the versions of pyenv.
    """
    found: dict[str, str] = {}
    for name in _pyenv_versions(variables):
        path = _pyenv_folder(variables) / name / "bin" / "python"
        if os.access(path, os.X_OK):
            found[name] = found[name.rpartition(".")[0]] = str(path)
    for folder in variables.get("PATH", os.defpath).split(os.pathsep):
        if not os.path.isabs(folder) or os.path.basename(folder) == _SHIMS:
            continue
        try:
            names = os.listdir(folder)
        except OSError:
            continue
        for name in names:
            if (match := _COMMAND.fullmatch(name)) and shutil.which(name, path=folder):
                found.setdefault(match[1], os.path.join(folder, name))
    own = ".".join(map(str, sys.version_info[:3]))
    return found | {own: sys.executable, own.rpartition(".")[0]: sys.executable}


def _pyenv_folder(variables: Mapping[str, str]) -> Path:
    root = variables.get("PYENV_ROOT") or f"{variables.get('HOME', '/nonexistent')}/.pyenv"
    return Path(root) / "versions"


def _pyenv_versions(variables: Mapping[str, str]) -> list[str]:
    """Return the names of CPython's versions in the folder of pyenv, the lowest first."""
    try:
        names = os.listdir(_pyenv_folder(variables))
    except OSError:
        return []
    plain = [name for name in names if re.fullmatch(r"3\.\d{1,3}\.\d{1,3}", name)]
    return sorted(plain, key=lambda name: [int(part) for part in name.split(".")])
