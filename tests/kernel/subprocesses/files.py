"""Lower limits of open files, for tests."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def limited_to(count: int) -> Iterator[None]:
    """Set the limit of open files of this process and of what it starts to `count`, until the block ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def no_more_files(but: int = 0) -> Iterator[None]:
    """Let this process open only `but` more files until the block ends."""
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    with limited_to(free + but):
        yield
