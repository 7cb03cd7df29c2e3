"""Pipes, terminals and devices of this process, read and written without blocking the event loop."""

from __future__ import annotations

import asyncio
import errno
import os
import re
import select
import stat

STREAM = "-"
"""The name of standard input or output as a source or target."""

READ_BYTES = 256 * 1024
_PIPE_BYTES = 4096
"""Bytes that a pipe takes without blocking once it can be written, see PIPE_BUF in pipe(7)."""
_OWN = re.compile(r"/(?:dev/fd|proc/self/fd)/(\d+)")
_NAMED = {STREAM: (0, 1), "/dev/stdin": (0, 0), "/dev/stdout": (1, 1), "/dev/stderr": (2, 2)}
"""Descriptors by name: the one to read, and the one to write."""


def open_source(path: str) -> int | None:
    """Return the descriptor to read a stream from, or None for a regular file or a folder; raises OSError."""
    own = _own(path, 0)
    if own is not None:
        return os.dup(own)
    mode = os.stat(path).st_mode
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    _refuse_socket(mode, path)
    return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)


def open_target(path: str) -> int | None:
    """Return the descriptor to write a stream to, or None for a file, a folder or nothing; raises OSError."""
    own = _own(path, 1)
    if own is not None:
        return os.dup(own)
    try:
        mode = os.stat(path).st_mode
    except FileNotFoundError:
        return None
    if stat.S_ISREG(mode) or stat.S_ISDIR(mode):
        return None
    _refuse_socket(mode, path)
    if stat.S_ISBLK(mode):
        raise OSError(errno.EINVAL, "it is a disk, which is not overwritten", path)
    return _open_for_writing(path)


def _open_for_writing(path: str) -> int:
    try:
        return os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError as error:
        if error.errno == errno.ENXIO:
            raise OSError(errno.ENXIO, "it is a fifo that no program reads", path) from None
        raise


def _own(path: str, direction: int) -> int | None:
    if path in _NAMED:
        return _NAMED[path][direction]
    found = _OWN.fullmatch(path)
    return None if found is None else int(found[1])


def _refuse_socket(mode: int, path: str) -> None:
    if stat.S_ISSOCK(mode):
        raise OSError(errno.EINVAL, "it is a socket, which cannot be copied", path)


async def ready(descriptor: int, *, write: bool) -> None:
    """Wait until a descriptor can be read or written; one of a regular file or a disk always can."""
    loop = asyncio.get_running_loop()
    came = asyncio.Event()
    add, remove = (loop.add_writer, loop.remove_writer) if write else (loop.add_reader, loop.remove_reader)
    try:
        add(descriptor, came.set)
    except PermissionError:
        return
    try:
        await came.wait()
    finally:
        remove(descriptor)


async def write_all(descriptor: int, data: bytes) -> None:
    """Write to a descriptor, and wait while it takes nothing; raises OSError, such as BrokenPipeError."""
    rest = memoryview(data)
    quick = stat.S_ISREG(os.fstat(descriptor).st_mode)
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    while rest:
        if not quick and not poll.poll(0):
            await ready(descriptor, write=True)
        try:
            rest = rest[os.write(descriptor, rest if quick else rest[:_PIPE_BYTES]) :]
        except BlockingIOError:
            await ready(descriptor, write=True)
