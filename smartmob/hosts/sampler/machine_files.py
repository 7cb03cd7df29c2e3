"""Reads the small files in which the kernel describes the machine: /proc, /sys and the marks of containers."""

from __future__ import annotations

from pathlib import Path

import msgspec


class Roots(msgspec.Struct, frozen=True):
    """The folders of the kernel's files, and the root folder, where container engines leave their marks."""

    procfs: Path = Path("/proc")
    sysfs: Path = Path("/sys")
    root: Path = Path("/")


def text_of(path: Path) -> str | None:
    """Return the text of a small file without blanks around it, or None when it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip()
    except (OSError, ValueError):
        return None


def number_of(path: Path) -> int | None:
    """Return the whole number in a small file, or None if it cannot be read or is not a number."""
    try:
        return int(text_of(path) or "")
    except ValueError:
        return None


def names_in(folder: Path) -> list[str]:
    """Return the sorted names in a folder; none when it cannot be read."""
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


def link_name(path: Path) -> str | None:
    """Return the last name of the target of a symbolic link, or None if it is not a link."""
    try:
        return path.readlink().name
    except OSError:
        return None
