"""The files of sides, packed here and unpacked there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smartmob.cli.side_archives import pack, unpack
from smartmob.errors import InvalidInput, SmartmobError
from tests.experiments.repositories import Commit, make_repository


def _sent(given: str, here: Path, tmp_path: Path) -> tuple[Path, str, str]:
    """Return the folder of a side that was packed and unpacked, its kind and its commit."""
    sent = pack(given, here, tmp_path / "archive")
    side = unpack(sent, tmp_path / "archive", tmp_path / "there")
    assert side.given == given
    return side.folder, side.kind, side.commit


def test_a_revision_is_sent_whole(tmp_path: Path) -> None:
    """Its tests run in the folder below the repository where the command runs."""
    names = make_repository(tmp_path / "here", {"main": Commit([], {"setup.cfg": "x", "sub/test_x.py": "y"})})
    (tmp_path / "here" / "sub").mkdir()
    folder, kind, commit = _sent("main", tmp_path / "here" / "sub", tmp_path)
    assert (kind, commit) == ("revision", names["main"])
    assert folder == tmp_path / "there" / "sub"
    assert sorted(path.name for path in folder.parent.iterdir()) == ["setup.cfg", "sub"]


@pytest.mark.parametrize("with_git", [True, False])
def test_a_folder_is_sent_as_it_is(tmp_path: Path, with_git: bool) -> None:
    """Also files that were not committed; modes and links are kept, and what is made again stays here."""
    here = tmp_path / "here"
    if with_git:
        make_repository(here, {"main": Commit([], {"file": "x"})})
        (here / ".gitignore").write_text(".venv\n__pycache__\n")
    for name in (".venv", "pkg/__pycache__"):
        (here / name).mkdir(parents=True)
        (here / name / "file").write_text("made again")
    (here / "pkg" / "run.sh").write_text("echo\n")
    (here / "pkg" / "run.sh").chmod(0o755)
    (here / "link").symlink_to("pkg")
    folder, kind, _ = _sent(str(here), tmp_path, tmp_path)
    assert kind == "folder"
    assert sorted(path.name for path in folder.iterdir()) == [*([".gitignore"] if with_git else []), "link", "pkg"]
    assert os.access(folder / "link" / "run.sh", os.X_OK)
    assert not (folder / "pkg" / "__pycache__").exists()


def test_a_wheel_is_sent_as_a_file(tmp_path: Path) -> None:
    """It keeps its name, which pip reads."""
    (tmp_path / "x-1-py3-none-any.whl").write_bytes(b"PK")
    sent = pack(str(tmp_path / "x-1-py3-none-any.whl"), tmp_path, tmp_path / "archive")
    side = unpack(sent, tmp_path / "archive", tmp_path / "there")
    assert side.wheel == tmp_path / "there" / "x-1-py3-none-any.whl"


def test_wrong_names_and_incomplete_archives_are_refused(tmp_path: Path) -> None:
    """Names that are none, and archives that do not arrive whole."""
    with pytest.raises(InvalidInput, match="is not a folder, a wheel or a revision"):
        pack("absent", tmp_path, tmp_path / "archive")
    with pytest.raises(InvalidInput, match=r"there is no wheel absent\.whl"):
        pack("absent.whl", tmp_path, tmp_path / "archive")
    (tmp_path / "side").mkdir()
    sent = pack(str(tmp_path / "side"), tmp_path, tmp_path / "archive")
    (tmp_path / "archive").write_bytes(b"\x1f\x8b" + b"x" * 600)
    with pytest.raises(SmartmobError, match="cannot be unpacked"):
        unpack(sent, tmp_path / "archive", tmp_path / "there")
