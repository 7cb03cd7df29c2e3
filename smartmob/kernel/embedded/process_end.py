"""Waiting for the end of a process that need not be a child of this one."""

from __future__ import annotations

import asyncio
import os

import psutil

_HAS_DESCRIPTORS = hasattr(os, "pidfd_open")
"""True on Linux, where pidfd_open(2) returns a file descriptor for a process."""


async def ended(pid: int) -> None:
    """Wait until the process `pid` has ended: by an event on Linux, in a thread elsewhere."""
    if not _HAS_DESCRIPTORS:
        await asyncio.to_thread(ended_within, pid, None)
        return
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    has_ended = asyncio.Event()
    loop.add_reader(descriptor, has_ended.set)
    try:
        await has_ended.wait()
    finally:
        loop.remove_reader(descriptor)
        os.close(descriptor)


def ended_within(pid: int, seconds: float | None) -> bool:
    """Block until the process `pid` has ended, at most `seconds`, or without a limit; return whether it has."""
    try:
        psutil.Process(pid).wait(seconds)
    except psutil.NoSuchProcess:
        return True
    except psutil.TimeoutExpired:
        return False
    return True
