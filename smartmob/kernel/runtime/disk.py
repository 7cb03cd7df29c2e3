"""Reserves free disk space for the service: optional data is refused when it would leave too little."""

from __future__ import annotations

import errno
import os
from pathlib import Path

CHECK_INTERVAL_BYTES = 1024 * 1024
"""The bytes that are written between two checks of the free space."""
_ENTRY_BYTES = 4096  # a file or folder takes at least one block of the file system


class LeastFree(int):
    """Bytes that must stay free, with the flag of the setting that says so."""

    def __new__(cls, size: int, setting: str = "--least-free") -> LeastFree:
        """Return the size; `setting` is named in the error."""
        made = super().__new__(cls, size)
        made.setting = setting
        return made

    setting: str


class DiskLow(OSError):
    """The disk has so little free space that the rest is reserved for the service itself."""


class Floor:
    """Guards the `least` bytes that must stay free on the disk of `folder`.

    Each writer has its own object, and calls `take` before it writes. The disk is checked once for every
    CHECK_INTERVAL_BYTES, so each writer may go below the floor by that amount.
    """

    def __init__(self, folder: Path, least: int) -> None:
        self._folder = folder
        self._least = least
        self._until_check = 0

    def take(self, size: int) -> None:
        """Count `size` bytes that will be written; raises DiskLow when too few would stay free."""
        self._until_check -= size
        if self._until_check <= 0:
            self._until_check = 0
            check_free(self._folder, size, self._least)
            self._until_check = CHECK_INTERVAL_BYTES

    def entry(self) -> None:
        """Count a new file or folder, which needs space even when it is empty; raises DiskLow."""
        self.take(_ENTRY_BYTES)


def free_bytes(folder: Path) -> int:
    """Return the bytes that this process may still write to the disk of a folder."""
    stats = os.statvfs(folder)
    return stats.f_bavail * stats.f_frsize


def check_free(folder: Path, size: int, least: int) -> None:
    """Raise DiskLow if fewer than `least` bytes would stay free on the disk of a folder after writing `size` bytes."""
    try:
        free = free_bytes(folder)
    except OSError:
        return  # the write itself fails then, with a better message
    if free - size < least:
        setting = (least if isinstance(least, LeastFree) else LeastFree(least)).setting
        if free < size:
            raise DiskLow(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
        text = f"{free // 1024**2} MiB are free, and {setting} keeps {least // 1024**2} MiB for the service"
        raise DiskLow(errno.ENOSPC, text, str(folder))
