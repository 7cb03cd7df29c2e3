"""The reason why a program cannot be started."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from smartmob.kernel.subprocesses import start_errors


@pytest.mark.parametrize(
    ("content", "mode", "number", "reason"),
    [
        (None, 0, errno.ENOENT, "cannot start ./x: there is no such file"),
        (
            b"#!/no/python\n",
            0o755,
            errno.ENOENT,
            "cannot start ./x: its first line names /no/python, which does not exist",
        ),
        (
            b"#!/bin/sh\r\necho\r\n",
            0o755,
            errno.ENOENT,
            "carriage return (`#!/bin/sh\\r`); save it with Unix line ends",
        ),
        (b"#!\n", 0o755, errno.ENOENT, "its first line names no interpreter"),
        (b"\x7fELF...", 0o755, errno.ENOENT, "its dynamic loader does not exist"),
        (b"#!/bin/sh\n", 0o644, errno.EACCES, "it is not executable; allow it with `chmod +x ./x`"),
        (b"\x00\x01", 0o755, errno.ENOEXEC, "it is neither a program for this kind of machine nor a script"),
        (b"x", 0o755, errno.ENOMEM, "cannot start ./x: Cannot allocate memory"),
    ],
)
def test_the_reason_names_the_file_and_the_cause(
    tmp_path: Path, content: bytes | None, mode: int, number: int, reason: str
) -> None:
    """A missing interpreter is not taken for a missing file."""
    if content is not None:
        (tmp_path / "x").write_bytes(content)
        (tmp_path / "x").chmod(mode)

    assert reason in start_errors.describe(number, "./x", tmp_path, {})


def test_a_program_that_is_not_on_the_path_is_named_with_the_path(tmp_path: Path) -> None:
    """The PATH is the one of the program, not of the service."""
    said = start_errors.describe(errno.ENOENT, "no-such", tmp_path, {"PATH": str(tmp_path)})
    assert said == f"cannot start the program: there is no 'no-such' on the PATH ({tmp_path})"


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    """The program is not blamed."""
    said = start_errors.describe(errno.ENOENT, "true", tmp_path / "gone", {})
    assert said == f"cannot start the program: its folder {tmp_path / 'gone'} does not exist"


@pytest.mark.parametrize(
    ("content", "hint"),
    [
        (b"#!/bin/sh\n", ""),
        (b"no script", ""),
        (b"#!/bin/sh\r\n", "its first line ends with a carriage return (`#!/bin/sh\\r`); save it with Unix line ends"),
        (b"#!/no/sh -e\n", "its first line names /no/sh, which does not exist"),
    ],
)
def test_a_hint_is_given_only_when_the_first_line_is_the_cause(tmp_path: Path, content: bytes, hint: str) -> None:
    """It serves scripts that a shell started."""
    (tmp_path / "x").write_bytes(content)
    assert start_errors.interpreter_hint("./x", tmp_path) == hint
    assert start_errors.interpreter_hint("x", tmp_path) == ""
    assert start_errors.interpreter_hint("./y", tmp_path) == ""
