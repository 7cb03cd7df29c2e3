"""The Python of a program: the installed one, a near one with a remark, or a message with what is there."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from smartmob.processes.preparation.interpreters import Interpreter, NoInterpreter, choose, version_file

OWN = ".".join(map(str, sys.version_info[:3]))
MINOR = OWN.rpartition(".")[0]


@pytest.fixture(name="variables")
def _variables(tmp_path: Path) -> dict[str, str]:
    """Return variables with Python 3.77 on the PATH, and 3.78.2, 3.78.10 and a shim of 3.79 of pyenv."""
    commands = ["bin/python3.77", "bin/python2.7", "bin/python3.7x", "shims/python3.79"]
    versions = [f"root/versions/{name}/bin/python" for name in ("3.78.2", "3.78.10", "my-project")]
    for name in commands + versions:
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("#!/bin/sh\n")
        path.chmod(0o755)
    path_list = f"{tmp_path}/none:relative:{tmp_path}/shims:{tmp_path}/bin"
    return {"PATH": path_list, "PYENV_ROOT": str(tmp_path / "root")}


@pytest.mark.parametrize(
    ("text", "path", "remark"),
    [
        (OWN, sys.executable, ""),
        (f"python-{MINOR}\r\n", sys.executable, ""),
        ("system", sys.executable, ""),
        ("# why\n\n 3.77 # the last\n", "bin/python3.77", ""),
        ("python-3.77.4", "bin/python3.77", "x asks for Python 3.77.4, which is not installed here; 3.77 is used"),
        ("cpython@3.78.2", "root/versions/3.78.2/bin/python", ""),
        ("3.78\n3.77\n", "root/versions/3.78.10/bin/python", ""),
    ],
)
def test_the_python_of_a_version_is_found(
    text: str, path: str, remark: str, variables: dict[str, str], tmp_path: Path
) -> None:
    """The service's own, those on the PATH, and those of pyenv; of several lines the first counts."""
    expected = path if path == sys.executable else str(tmp_path / path)
    assert choose("x", text, variables) == Interpreter(expected, remark)


@pytest.mark.parametrize("text", ["3.79", "3.5.1", "2.7"])
def test_a_version_that_is_missing_is_refused_with_those_that_are_there(text: str, variables: dict[str, str]) -> None:
    """A shim of pyenv does not count, because it may lead nowhere."""
    with pytest.raises(NoInterpreter, match=f"x asks for Python {text}, .*; there is .*{MINOR}, .*3.77, 3.78, 3.78.2"):
        choose("x", text, variables)


@pytest.mark.parametrize("text", ["", "my-project", "pypy3.10-7.3", "3", "3.12.x", ">=3.11"])
def test_other_texts_are_refused(text: str, variables: dict[str, str]) -> None:
    """The message shows an example."""
    with pytest.raises(NoInterpreter, match=r"a version of Python is needed, such as 3.12 or 3.12.4"):
        choose("x", text, variables)


def test_runtime_txt_counts_before_the_file_of_pyenv(tmp_path: Path) -> None:
    """This is the order of Heroku."""
    assert version_file(tmp_path) is None
    (tmp_path / ".python-version").touch()
    assert version_file(tmp_path) == ".python-version"
    (tmp_path / "runtime.txt").touch()
    assert version_file(tmp_path) == "runtime.txt"
