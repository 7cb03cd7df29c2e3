"""Waiting for the end of a process that is no child of this one: by a process descriptor on Linux, else by psutil."""

from __future__ import annotations

import asyncio
import os
import select
from collections.abc import Iterator
from contextlib import contextmanager

import psutil


async def ended(pid: int) -> None:
    """Wait until the process `pid` has ended, whether or not its parent has reaped it."""
    if not hasattr(os, "pidfd_open"):
        await asyncio.to_thread(_wait_by_polling, pid, None)
        return
    loop = asyncio.get_running_loop()
    has_ended = asyncio.Event()
    with _descriptor_of(pid) as descriptor:
        if descriptor is None:
            return
        loop.add_reader(descriptor, has_ended.set)
        try:
            await has_ended.wait()
        finally:
            loop.remove_reader(descriptor)


def ended_within(pid: int, seconds: float) -> bool:
    """Block until the process `pid` has ended, at most `seconds`; return whether it has."""
    if not hasattr(os, "pidfd_open"):
        return _wait_by_polling(pid, seconds)
    with _descriptor_of(pid) as descriptor:
        if descriptor is None:
            return True
        poll = select.poll()
        poll.register(descriptor, select.POLLIN)
        return bool(poll.poll(seconds * 1000))


@contextmanager
def _descriptor_of(pid: int) -> Iterator[int | None]:
    """Give a descriptor that becomes readable when the process ends (pidfd_open(2)), or None if it has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        yield None
        return
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _wait_by_polling(pid: int, seconds: float | None) -> bool:
    try:
        gone, _ = psutil.wait_procs([psutil.Process(pid)], seconds)
    except psutil.NoSuchProcess:
        return True
    return bool(gone)
