"""Temporary names of content that arrives."""

from __future__ import annotations

import os
from contextlib import closing
from pathlib import Path

import pytest

from smartmob.commands.partial_file import PartialFile, part_name


@pytest.fixture(name="folder")
def _folder(tmp_path: Path) -> int:
    """Return the descriptor of the test's folder, open until the process ends."""
    return os.open(tmp_path, os.O_RDONLY)


def test_an_incomplete_part_is_continued_by_the_same_transfer_only(folder: int, tmp_path: Path) -> None:
    """A second transfer at the same time gets a name of its own, which is removed at its end."""
    name = part_name("file", "of", 1)
    with closing(PartialFile(folder, "file", name)) as first:
        first.file.write(b"begin")
        first.file.flush()
        with closing(PartialFile(folder, "file", name)) as second:
            assert os.fstat(second.file.fileno()).st_size == 0
        with pytest.raises(BlockingIOError):
            PartialFile(folder, "file", name, sole=True)
    with closing(PartialFile(folder, "file", name)) as later:
        assert os.fstat(later.file.fileno()).st_size == 5
        later.finish(0o640, 10**18)
    about = (tmp_path / "file").stat()
    assert (about.st_mode & 0o777, about.st_mtime_ns) == (0o640, 10**18)
    assert os.listdir(tmp_path) == ["file"]


def test_a_part_without_content_is_not_kept(folder: int, tmp_path: Path) -> None:
    """Nothing could be continued."""
    with closing(PartialFile(folder, "file", part_name("file"))):
        assert len(os.listdir(tmp_path)) == 1
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("kind", ["fifo", "folder", "link", "hard link"])
def test_a_foreign_part_is_passed_over(folder: int, tmp_path: Path, kind: str) -> None:
    """Whatever has the name of the part, the transfer is done, and that file stays as it is."""
    part = tmp_path / "part"
    (tmp_path / "other").write_text("other")
    if kind == "fifo":
        os.mkfifo(part)
    elif kind == "folder":
        part.mkdir()
    elif kind == "link":
        part.symlink_to("other")
    else:
        part.hardlink_to(tmp_path / "other")
    with closing(PartialFile(folder, "file", "part")) as found:
        found.file.write(b"content")
        found.finish(None)
    assert (tmp_path / "file").read_bytes() == b"content"
    assert (tmp_path / "other").read_text() == "other"
    assert os.path.lexists(part)


def test_only_files_and_links_are_replaced(folder: int, tmp_path: Path) -> None:
    """A fifo and a folder stay."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "folder").mkdir()
    for name in ("fifo", "folder"):
        with closing(PartialFile(folder, name)) as part, pytest.raises(OSError):
            part.finish(0o600)
    assert sorted(os.listdir(tmp_path)) == ["fifo", "folder"]
