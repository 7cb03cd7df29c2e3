"""The installation of a source: which file decides, by which tool, and how requirements are decoded."""

from __future__ import annotations

from pathlib import Path

import pytest
from pip._internal.req.req_file import get_file_content

from smartmob.processes.preparation.requirements import MissingTool, decoded, installation, is_self_contained

TEXT = "# gr\u00fc\u00dfe\r\nflask==1.0 \\\r\n  --hash=sha256:abc\r\n"
PROJECT = "[project]\nname = 'x'\n"


@pytest.mark.parametrize(
    "encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le-bom", "utf-16-be-bom", "utf-32", "latin-1", "cp1252"]
)
def test_requirements_are_decoded_as_pip_decodes_them(encoding: str, tmp_path: Path) -> None:
    """With a byte order mark, as PowerShell writes them, and with a comment that names the encoding."""
    text = TEXT if encoding not in ("latin-1", "cp1252") else f"# -*- coding: {encoding} -*-\n{TEXT}"
    data = ("\ufeff" + text).encode(encoding[:-4]) if encoding.endswith("-bom") else text.encode(encoding)
    (tmp_path / "requirements.txt").write_bytes(data)
    # pip 23 and older read UTF-32 as UTF-16, whose mark begins alike, so for that there is only our own expectation.
    if encoding != "utf-32":
        # A path instead of an address needs no session.
        expected = get_file_content(str(tmp_path / "requirements.txt"), None)[1]  # type: ignore[arg-type]  # see above
        assert expected == text
    assert decoded(data) == text
    found = installation(tmp_path, "")
    assert found is not None
    assert (found.needs_source, is_self_contained(text)) == (False, True)


def test_an_unknown_encoding_is_named() -> None:
    """Like text in no encoding at all, it is a fault of the file."""
    with pytest.raises(ValueError, match="unknown encoding, 'klingon'"):
        decoded(b"# coding: klingon\nflask\n")


def _stubs(folder: Path, *names: str) -> str:
    folder.mkdir()
    for name in names:
        (folder / name).write_text("#!/bin/sh\n")
        (folder / name).chmod(0o755)
    return str(folder)


@pytest.mark.parametrize(
    ("files", "command"),
    [
        (["requirements.txt", "pyproject.toml", "uv.lock", "Pipfile"], "python -m pip install --progress-bar off -r"),
        (["pyproject.toml", "uv.lock", "poetry.lock"], "uv sync --locked --no-dev"),
        (["pyproject.toml", "poetry.lock"], "poetry install --only main --no-interaction"),
        (["Pipfile", "Pipfile.lock"], "pipenv install --deploy"),
        (["Pipfile", "pyproject.toml"], "pipenv install --skip-lock"),
        (["pyproject.toml"], "python -m pip install --progress-bar off ."),
        (["uv.lock"], None),
        (["setup.py"], None),
    ],
)
def test_the_first_of_the_files_decides(files: list[str], command: str | None, tmp_path: Path) -> None:
    """A lock file is installed by its tool."""
    path = _stubs(tmp_path / "bin", "uv", "poetry", "pipenv")
    for name in files:
        (tmp_path / name).write_text(PROJECT)
    found = installation(tmp_path, path)
    assert (found is None) == (command is None)
    if found is not None and command is not None:
        assert " ".join(found.command).removeprefix(path + "/").startswith(command)


@pytest.mark.parametrize("lock", ["uv.lock", "poetry.lock"])
def test_without_its_tool_a_lock_is_not_used_and_the_output_says_so(lock: str, tmp_path: Path) -> None:
    """pip installs the project, with the versions that it allows."""
    for name in ("pyproject.toml", lock):
        (tmp_path / name).write_text(PROJECT)
    found = installation(tmp_path, str(tmp_path))
    assert found is not None
    assert found.command[-1] == "."
    assert found.remark.startswith(f"{lock} is not used, because {lock.partition('.')[0]} is not on the PATH")


def test_without_pipenv_a_pipfile_is_refused(tmp_path: Path) -> None:
    """No other tool reads it; the message says what to do."""
    (tmp_path / "Pipfile").write_text("[packages]\n")
    with pytest.raises(MissingTool, match=r"Pipfile needs pipenv.*or add requirements.txt"):
        installation(tmp_path, str(tmp_path))
