"""The umask of the service, which keeps its files private, and of programs, which get the umask from its start."""

from __future__ import annotations

import os

_PRIVATE = 0o077  # permission bits that new files and folders do not get: all those of group and others
_original = -1  # the umask of this process before make_private, or -1


def make_private() -> None:
    """Make files and folders that this process creates from now on accessible to its own user only."""
    global _original
    previous = os.umask(_PRIVATE)
    if _original < 0:
        _original = previous


def of_programs() -> int:
    """Return the umask for programs that are started for clients; -1 means the umask of this process."""
    return _original
