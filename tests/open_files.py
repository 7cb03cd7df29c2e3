"""The files that a test has left open in its own process."""

from __future__ import annotations

import gc
import os


class OpenFiles:
    """Remembers which file descriptors are open when it is made.

    Objects of earlier tests that wait for the garbage collector would close theirs at any time: they are freed first.
    """

    def __init__(self) -> None:
        gc.collect()
        self._before = _descriptors()

    def more(self) -> set[str]:
        """Return the numbers of the descriptors that are open now and were not before."""
        return _descriptors() - self._before


def _descriptors() -> set[str]:
    return set(os.listdir("/proc/self/fd"))
