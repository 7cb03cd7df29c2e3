"""The limit of open files, for the tests of what happens at it."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def limited_to(count: int) -> Iterator[None]:
    """Let this process, and what it starts, have `count` files open until the block ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@contextmanager
def no_more_files(but: int = 0) -> Iterator[None]:
    """Let this process open nothing more, but for so many, until the block ends."""
    free = os.open(os.devnull, os.O_RDONLY)
    os.close(free)
    with limited_to(free + but):
        yield
