"""The free disk space that is reserved for the service."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from smartmob.kernel.runtime.disk import CHECK_INTERVAL_BYTES, DiskLow, Floor, LeastFree, check_free, free_bytes


def test_a_write_below_the_floor_is_refused(tmp_path: Path) -> None:
    """The error is that of a full disk, and has the numbers; a smaller write is allowed."""
    free = free_bytes(tmp_path)
    check_free(tmp_path, 1, 0)
    with pytest.raises(DiskLow, match="are free") as found:
        check_free(tmp_path, 1, 2 * free)
    assert (found.value.errno, found.value.filename) == (errno.ENOSPC, str(tmp_path))
    with pytest.raises(DiskLow, match="No space left on device"):
        check_free(tmp_path, 2 * free, 0)


def test_the_error_names_the_setting_that_set_the_limit(tmp_path: Path) -> None:
    """A limit of jobs and uploads alone is not called that of the whole service."""
    too_much = 2 * free_bytes(tmp_path)
    with pytest.raises(DiskLow, match="--least-free keeps"):
        check_free(tmp_path, 1, too_much)
    with pytest.raises(DiskLow, match="--commands-least-free keeps"):
        Floor(tmp_path, LeastFree(too_much, "--commands-least-free")).take(1)


def test_a_missing_folder_is_not_checked(tmp_path: Path) -> None:
    """The write itself fails then."""
    check_free(tmp_path / "missing", 1, 0)


def test_the_disk_is_checked_again_after_each_interval(tmp_path: Path) -> None:
    """Bytes and empty files are counted, and every write after the interval is checked."""
    with pytest.raises(DiskLow):
        Floor(tmp_path, 2 * free_bytes(tmp_path)).take(1)
    folder = tmp_path / "removed"
    folder.mkdir()
    floor = Floor(folder, 2 * free_bytes(tmp_path))
    folder.rmdir()
    floor.take(1)  # the folder does not exist, so its disk is not checked
    folder.mkdir()
    floor.take(CHECK_INTERVAL_BYTES - 1)
    with pytest.raises(DiskLow):
        floor.take(1)
    for _ in range(2):
        with pytest.raises(DiskLow):
            floor.entry()
