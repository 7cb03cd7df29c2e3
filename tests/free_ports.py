"""Ports that no program of this machine uses, so that other tests, services and users of it do not disturb a test."""

from __future__ import annotations

import random
from functools import cache

from smartmob.kernel.runtime.tcp_ports import is_listened_on

_BLOCKS = range(10_000, 31_000, 300)
"""The first ports of blocks; above begin the ports that Linux gives to outgoing connections."""
_USED = (*range(10), *range(100, 110), *range(200, 210))
"""The ports of a block that tests expect: up to ten nodes of three types."""


@cache
def base_port() -> int:
    """Return the first port of a block in which nothing listens, the same for all tests of this process."""
    return free_block()


def free_block() -> int:
    """Return the first port of a block in which nothing listens."""
    blocks = list(_BLOCKS)
    random.shuffle(blocks)
    return next(base for base in blocks if not any(is_listened_on(base + offset) for offset in _USED))
