"""The folder of an unpacked archive: its root, and the remarks; names, links and limits are in `test_archive`."""

from __future__ import annotations

import io
import threading
from pathlib import Path

import pytest

from smartmob.processes.preparation.unpacked_tree import UnpackedTree, UnpackLimits


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
