"""The floor of free space on a disk, below which nothing is written that the service can do without."""

from __future__ import annotations

import errno
import os
from pathlib import Path


class DiskLow(OSError):
    """So little is free on the disk that what is left is kept for the service itself."""


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
        said = f"{free // 1024**2} MiB are free, and --commands-least-free keeps {least // 1024**2} MiB for the service"
        raise DiskLow(errno.ENOSPC, said, str(folder))
