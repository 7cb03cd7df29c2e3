"""What children write: one pipe for each child, read in chunks, however fast or slow it writes.

A child that writes seldom is read the moment it writes. One that writes often would cost a wake-up for each line, so
it is swept instead: all busy pipes together every few milliseconds, until they fall silent again. Nothing is lost
meanwhile, because a pipe holds up to 1 MiB; a child that fills it waits until it has been read.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress

PIPE_BYTES = 1024 * 1024

_READ_BYTES = 256 * 1024
_READS_AT_ONCE = 4
_SWEEP_SECONDS = 0.005
_BUSY_WAKEUPS = 3
_SILENT_SWEEPS = 20
_AIM_BYTES = PIPE_BYTES // 4
_SHORTEST = 0.0005


class Pipe:
    """The pipe that a child writes to. `write_end` is for the child; close it here once the child has it.

    `take` gets each chunk in order, and `ended` is called once, when the last writer has closed the pipe or the
    pipe was closed here.
    """

    def __init__(self, take: Callable[[bytes], None], ended: Callable[[], None]) -> None:
        self.take = take
        self.ended = ended
        self.closed = False
        self.fd, self.write_end = os.pipe()
        os.set_blocking(self.fd, False)
        # The kernel limits what all pipes of a user may hold; the default size does then.
        with suppress(OSError):
            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def hand_over(self) -> None:
        """Close the end that the child has got."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1


class PipeReader:
    """Reads the pipes of all children. It needs no task of its own; `close` a pipe when nobody reads it any more."""

    def __init__(self) -> None:
        self._busy: dict[Pipe, int] = {}
        self._last: dict[Pipe, tuple[float, int]] = {}
        self._timer: asyncio.Handle | None = None
        self._swept = 0.0

    @property
    def busy(self) -> int:
        """Return how many pipes are swept now."""
        return len(self._busy)

    def add(self, pipe: Pipe) -> None:
        """Begin to read `pipe`."""
        self._last[pipe] = (0.0, 0)
        asyncio.get_running_loop().add_reader(pipe.fd, self._woken, pipe)

    def drain(self, pipe: Pipe) -> None:
        """Read what is in the pipe now, for somebody who needs the order of output and events."""
        while not pipe.closed and self._read(pipe):
            pass

    def close(self, pipe: Pipe) -> None:
        """Stop to read `pipe`, and close it."""
        if pipe.closed:
            return
        pipe.closed = True
        pipe.hand_over()
        if self._busy.pop(pipe, None) is None and pipe in self._last:
            asyncio.get_running_loop().remove_reader(pipe.fd)
        self._last.pop(pipe, None)
        os.close(pipe.fd)
        pipe.ended()

    def _woken(self, pipe: Pipe) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        before, wakeups = self._last[pipe]
        wakeups = wakeups + 1 if now - before < _SWEEP_SECONDS else 0
        self._last[pipe] = (now, wakeups)
        self._read(pipe)
        if wakeups >= _BUSY_WAKEUPS and not pipe.closed:
            loop.remove_reader(pipe.fd)
            self._busy[pipe] = 0
            if self._timer is None:
                self._swept = now
                self._timer = loop.call_later(_SWEEP_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Read every busy pipe, and come again before the fastest of them has filled its pipe by a quarter."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        fastest = 0
        for pipe in tuple(self._busy):
            size = 0
            for _ in range(_READS_AT_ONCE):
                got = self._read(pipe)
                size += got
                if got < _READ_BYTES:
                    break
            if pipe.closed:
                continue
            fastest = max(fastest, size)
            silent = 0 if size else self._busy[pipe] + 1
            self._busy[pipe] = silent
            if silent > _SILENT_SWEEPS:
                del self._busy[pipe]
                self._last[pipe] = (0.0, 0)
                loop.add_reader(pipe.fd, self._woken, pipe)
        rate = fastest / max(now - self._swept, _SHORTEST)
        self._swept = now
        self._timer = None
        if self._busy:
            pause = min(_SWEEP_SECONDS, _AIM_BYTES / rate) if rate else _SWEEP_SECONDS
            self._timer = loop.call_later(pause if pause > _SHORTEST else 0, self._sweep)

    def _read(self, pipe: Pipe) -> int:
        """Hand one chunk over; return its size, 0 when there is none now."""
        try:
            chunk = os.read(pipe.fd, _READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:  # EIO of a terminal whose last user has left
            chunk = b""
        if not chunk:
            self.close(pipe)
            return 0
        pipe.take(chunk)
        return len(chunk)
