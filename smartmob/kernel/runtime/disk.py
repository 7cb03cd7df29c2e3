"""The floor of free space on a disk, below which nothing is written that the service can do without."""

from __future__ import annotations

import errno
import os
from pathlib import Path

LOOK_BYTES = 1024 * 1024
"""So many bytes are written between two looks at the free space of the disk."""
_ENTRY_BYTES = 4096
_SETTING = "--least-free"


class DiskLow(OSError):
    """So little is free on the disk that what is left is kept for the service itself."""


class Floor:
    """The bytes of the disk of `folder` that those who write there leave free.

    `take` is told of what is about to be written. It looks at the disk once for every LOOK_BYTES, so as much may be
    written below the floor by each who writes.
    """

    def __init__(self, folder: Path, least: int) -> None:
        self._folder = folder
        self._least = least
        self._until_look = 0

    def take(self, size: int) -> None:
        """Take note of `size` bytes more; raises DiskLow when they would not leave enough free."""
        self._until_look -= size
        if self._until_look <= 0:
            self._until_look = 0
            check_room(self._folder, size, self._least)
            self._until_look = LOOK_BYTES

    def entry(self) -> None:
        """Take note of one file or folder more, which needs feature even when nothing is in it; raises DiskLow."""
        self.take(_ENTRY_BYTES)


def free_bytes(folder: Path) -> int:
    """Return the bytes that are free for this process on the disk of a folder."""
    figures = os.statvfs(folder)
    return figures.f_bavail * figures.f_frsize


def check_room(folder: Path, size: int, least: int) -> None:
    """Raise DiskLow if fewer than `least` bytes would be free on the disk of a folder after `size` more."""
    try:
        free = free_bytes(folder)
    except OSError:
        return  # whoever writes there is told why that cannot be done
    if free - size < least:
        said = f"{free // 1024**2} MiB are free, and {_SETTING} keeps {least // 1024**2} MiB for the service"
        raise DiskLow(errno.ENOSPC, said, str(folder))
