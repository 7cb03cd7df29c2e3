"""The file of a journal: lines that survive a crash, and lines that a crash has cut off."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from smartmob.errors import StartupError
from smartmob.kernel.journal.journal_file import JournalFile


def _opened(path: Path) -> tuple[JournalFile, list[bytes]]:
    file = JournalFile(path)
    return file, file.open()


def test_lines_are_read_as_they_were_appended(tmp_path: Path) -> None:
    """The file is for its own user only."""
    file, lines = _opened(tmp_path / "journal")
    assert lines == []
    file.append([b"a", b"b"])
    file.append([b"c"])
    file.close()
    assert _opened(tmp_path / "journal")[1] == [b"a", b"b", b"c"]
    assert (tmp_path / "journal").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize("cut", range(1, 4))
def test_a_last_line_that_was_cut_off_is_removed(tmp_path: Path, cut: int) -> None:
    """It was not acknowledged, and what is appended later does not run into it."""
    file, _ = _opened(tmp_path / "journal")
    file.append([b"abc", b"def"])
    file.close()
    os.truncate(file.path, file.size - cut)
    again, lines = _opened(file.path)
    assert lines == [b"abc"]
    again.append([b"x"])
    again.close()
    assert _opened(file.path)[1] == [b"abc", b"x"]


def test_what_a_failed_append_left_is_removed_before_the_next(tmp_path: Path) -> None:
    """Half of a batch that was refused does not come back."""
    file, _ = _opened(tmp_path / "journal")
    file.append([b"a"])
    with file.path.open("ab") as other:
        other.write(b"half\nof a ba")
    file.append([b"b"])
    file.close()
    assert _opened(file.path)[1] == [b"a", b"b"]


def test_a_rewritten_file_has_the_new_lines_alone(tmp_path: Path) -> None:
    """Appending goes on, and the file of a rewriting that a crash has ended is removed."""
    file, _ = _opened(tmp_path / "journal")
    file.append([b"old"] * 100)
    file.rewrite([b"new"])
    file.append([b"newer"])
    file.close()
    (tmp_path / "journal.new").write_bytes(b"half")
    assert _opened(file.path)[1] == [b"new", b"newer"]
    assert not (tmp_path / "journal.new").exists()


def test_a_folder_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    """The error says which option helps."""
    with pytest.raises(StartupError, match="--state-dir"):
        JournalFile(tmp_path / "missing" / "journal").open()
