"""Ports that no program of this machine uses, so that other tests, services and users of it do not disturb a test."""

from __future__ import annotations

import itertools
import os
import random
import re
from functools import cache

from smartmob.kernel.runtime.tcp_ports import is_listened_on

_BLOCKS = range(10_000, 31_000, 300)
"""The first ports of blocks; above begin the ports that Linux gives to outgoing connections."""
_SINGLE = range(31_000, 32_768)
"""Single ports, between those of the blocks and those that Linux gives to outgoing connections."""
_MOST_WORKERS = 16
_USED = (*range(10), *range(100, 110), *range(200, 210))
"""The ports of a block that tests expect: up to ten nodes of three types."""


@cache
def base_port() -> int:
    """Return the first port of a block in which nothing listens, the same for all tests of this process."""
    return free_block()


def single_port() -> int:
    """Return a port on which nothing listens, and which no other process of this run of the tests is given.

    One that the system chose is free only for a moment: another test may be given it before it is used, or used again.
    """
    return next(port for port in _share() if not is_listened_on(port))


@cache
def _share() -> itertools.cycle[int]:
    """Return the ports of this process of the run, one after the other, again and again."""
    worker = re.search(r"\d+", os.environ.get("PYTEST_XDIST_WORKER", "0"))
    assert worker is not None
    ports = list(_SINGLE[int(worker[0]) % _MOST_WORKERS :: _MOST_WORKERS])
    first = random.randrange(len(ports))
    return itertools.cycle(ports[first:] + ports[:first])


def free_block() -> int:
    """Return the first port of a block in which nothing listens."""
    blocks = list(_BLOCKS)
    random.shuffle(blocks)
    return next(base for base in blocks if not any(is_listened_on(base + offset) for offset in _USED))
