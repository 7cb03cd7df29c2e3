"""The reason why a program cannot be started, in one line that names the file and says what to do.

The system only says "No such file or directory", even when only the interpreter in the first line of the file is
missing (execve(2), ENOENT).
"""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path

_HEAD_BYTES = 256  # the kernel reads no more of the first line (BINPRM_BUF_SIZE, Linux 5.1)
_ELF_MAGIC = b"\x7fELF"


def describe(number: int, program: str, folder: Path, env: Mapping[str, str]) -> str:
    """Return why the `program`, started in `folder` with `env`, failed with the error `number` of the system."""
    if not folder.is_dir():
        return f"cannot start the program: its folder {folder} does not exist"
    path = folder / program if "/" in program else _found(program, env)
    if path is None:
        return f"cannot start the program: there is no {program!r} on the PATH ({env.get('PATH', os.defpath)})"
    reason = os.strerror(number)
    if number == errno.ENOENT:
        reason = _missing(path) if path.exists() else "there is no such file"
    elif number == errno.EACCES:
        reason = "it is a folder" if path.is_dir() else f"it is not executable; allow it with `chmod +x {program}`"
    elif number == errno.ENOEXEC:
        reason = "it is neither a program for this kind of machine nor a script"
    return f"cannot start {program}: {reason}"


def interpreter_hint(program: str, folder: Path) -> str:
    """Return why a script that a shell did not find cannot be run, or "" when its first line is not the cause."""
    path = folder / program
    if "/" not in program or not path.is_file():
        return ""
    head = _head(path)
    return _missing_interpreter(head) if head.startswith(b"#!") else ""


def _found(program: str, env: Mapping[str, str]) -> Path | None:
    """Return the file of `program` on the PATH of `env`, executable or not."""
    for folder in env.get("PATH", os.defpath).split(os.pathsep):
        path = Path(folder or ".") / program
        if path.exists():
            return path
    return None


def _missing(path: Path) -> str:
    """Return which file is missing although `path` itself exists."""
    head = _head(path)
    if head.startswith(b"#!"):
        return _missing_interpreter(head) or "a file that it needs does not exist"
    if head.startswith(_ELF_MAGIC):
        return "its dynamic loader does not exist: it was built for another C library or machine"
    return "a file that it needs does not exist"


def _missing_interpreter(head: bytes) -> str:
    """Return the fault of the first line of a script, or "" when its interpreter exists."""
    line = head[2:].split(b"\n", 1)[0]
    words = line.split()
    if not words:
        return "its first line names no interpreter after `#!`"
    interpreter = os.fsdecode(words[0])
    if line.endswith(b"\r"):
        return f"its first line ends with a carriage return (`#!{interpreter}\\r`); save it with Unix line ends"
    if not Path(interpreter).exists():
        return f"its first line names {interpreter}, which does not exist"
    return ""


def _head(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(_HEAD_BYTES)
    except OSError:
        return b""
