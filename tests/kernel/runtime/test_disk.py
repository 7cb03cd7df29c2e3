"""The floor of free space on a disk."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from smartmob.kernel.runtime.disk import CHECK_INTERVAL_BYTES, DiskLow, Floor, check_free, free_bytes


def test_a_floor_above_what_is_free(tmp_path: Path) -> None:
    """It is refused as a full disk is, with the figures; what fits is not."""
    free = free_bytes(tmp_path)
    check_free(tmp_path, 1, 0)
    with pytest.raises(DiskLow, match="are free") as found:
        check_free(tmp_path, 1, 2 * free)
    assert (found.value.errno, found.value.filename) == (errno.ENOSPC, str(tmp_path))
    with pytest.raises(DiskLow):
        check_free(tmp_path, 2 * free, 0)


def test_a_folder_that_is_not_there(tmp_path: Path) -> None:
    """The writer is told by the error of its own attempt."""
    check_free(tmp_path / "missing", 1, 0)


def test_a_floor_looks_again_and_again(tmp_path: Path) -> None:
    """Parts of any size and files of none come to the end of what may be written, and the first that is too much."""
    with pytest.raises(DiskLow):
        Floor(tmp_path, 2 * free_bytes(tmp_path)).take(1)
    folder = tmp_path / "removed"
    folder.mkdir()
    floor = Floor(folder, 2 * free_bytes(tmp_path))
    folder.rmdir()
    floor.take(1)  # there is no disk to look at
    folder.mkdir()
    floor.take(CHECK_INTERVAL_BYTES - 1)
    with pytest.raises(DiskLow):
        floor.take(1)
    for _ in range(2):
        with pytest.raises(DiskLow):
            floor.entry()
