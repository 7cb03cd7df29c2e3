"""The umask of the service, which keeps its files to itself, and that of programs: what it was started with."""

from __future__ import annotations

import os

_PRIVATE = 0o077
_found = -1


def make_private() -> None:
    """Have what this process makes from now on be for its own user only."""
    global _found
    found = os.umask(_PRIVATE)
    if _found < 0:
        _found = found


def of_programs() -> int:
    """Return the umask for programs that are started on somebody's behalf; -1 for the one that this process has."""
    return _found
