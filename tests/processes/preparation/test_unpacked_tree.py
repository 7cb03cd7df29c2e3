"""The folder of an unpacked archive: its root, and the remarks; names, links and limits are in `test_archive`."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest

from smartmob.processes.preparation.archive import Kind, Unpacked, unpack
from smartmob.processes.preparation.unpacked_tree import ArchiveError, UnpackedTree, UnpackLimits
from tests.processes.archives import Entry, Folder, Link, make_archive


@pytest.mark.parametrize(
    ("names", "root"),
    [
        (["app/Procfile", "__MACOSX/app/._Procfile", "._app", ".DS_Store", "._.DS_Store"], "app"),
        (["app/Procfile", "Thumbs.db", "desktop.ini"], "app"),
        (["._app", "app/._Procfile", "app/x"], ""),
        (["Procfile", "._Procfile"], ""),
        (["app/Procfile", ".env"], ""),
    ],
)
def test_what_other_systems_add_does_not_hide_the_only_folder(names: list[str], root: str, tmp_path: Path) -> None:
    """Files of macOS and Windows at the top do not count; hidden files of the program do."""
    tree = UnpackedTree(tmp_path, 1, UnpackLimits(), threading.Event())
    for name in names:
        tree.file(name, io.BytesIO(), 0, executable=False)
    assert tree.create_links() == root


def test_remarks_are_few(tmp_path: Path) -> None:
    """An archive cannot fill the output with them."""
    tree = UnpackedTree(tmp_path, 1, UnpackLimits(), threading.Event())
    for number in range(1000):
        tree.remark(f"{number // 10}")
    assert tree.remarks == ("0", "1", "2", "3", "4")


def _unpacked(kind: Kind, pairs: list[tuple[str, Entry]], folder: Path, limits: UnpackLimits | None = None) -> Unpacked:
    (folder / "archive").write_bytes(make_archive(kind, pairs))
    return unpack(folder / "archive", folder / "out", limits or UnpackLimits())


def _tree(root: Path) -> dict[str, str]:
    """Return the content of a folder by path: texts of files, targets of links, "/" for folders."""
    return {
        str(path.relative_to(root)): f"-> {path.readlink()}"
        if path.is_symlink()
        else "/"
        if path.is_dir()
        else path.read_text()
        for path in root.rglob("*")
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_the_last_entry_of_a_name_counts(kind: Kind, tmp_path: Path) -> None:
    """As `tar -r` and `zipfile` add them: files and links replace each other, and a folder replaces them, too."""
    pairs: list[tuple[str, Entry]] = [
        *(("a", "1"), ("a", "2"), ("./a", "3"), ("b", "1"), ("b", Link("a")), ("c", Link("a")), ("c", "2")),
        *(("d", "1"), ("d", Folder()), ("d/x", "2"), ("e", Link("a")), ("e", Folder())),
    ]
    assert _tree(_unpacked(kind, pairs, tmp_path).root) == {
        "a": "3",
        "b": "-> a",
        "c": "2",
        "d": "/",
        "d/x": "2",
        "e": "/",
    }


@pytest.mark.filterwarnings("ignore:Duplicate name")
@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_entries_of_one_name_count_towards_the_limit(kind: Kind, tmp_path: Path) -> None:
    """Otherwise an archive could be expensive to unpack although it leaves one file."""
    with pytest.raises(ArchiveError, match="more than 20 files and folders"):
        _unpacked(kind, [("a", "")] * 21, tmp_path, UnpackLimits(files=20))


@pytest.mark.parametrize("kind", ["zip", "tar"])
def test_a_slash_at_the_beginning_of_names_is_left_out(kind: Kind, tmp_path: Path) -> None:
    """With a remark, as by tar and unzip."""
    found = _unpacked(kind, [("/Procfile", "web: x"), ("//a/b", "1"), ("/c/", Folder())], tmp_path)
    assert _tree(found.root) == {"Procfile": "web: x", "a": "/", "a/b": "1", "c": "/"}
    assert found.remarks == ("the slash at the beginning of names was left out",)
