"""Reads the output of children in chunks: one pipe for each child, or one for each of its two streams.

The pipe of a child that seldom writes is read as soon as it writes. A child that writes often would cost a wake-up for
each line, so its pipe becomes *busy*: all busy pipes are read together every few milliseconds, until they fall silent.
Nothing is lost: a pipe holds up to 1 MiB, and a child that fills it blocks until the pipe is read.

The kernel does not record in which order a child has written to two pipes. They are read in the order in which epoll(7)
reports them, which is the order of their first unread bytes. Before a pipe that has just become readable is read, its
sibling is read if that is busy, because most of the sibling's content was written earlier. When both pipes are written
to, they become busy later than a single pipe, so that a burst keeps its order.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable
from contextlib import suppress

PIPE_BYTES = 1024 * 1024
"""The size of a pipe: the most that Linux allows a user without privileges (fs.pipe-max-size, pipe(7))."""

_READ_BYTES = 256 * 1024
_READS_AT_ONCE_COUNT = 4  # of one pipe in one sweep
_SWEEP_SECONDS = 0.005  # between two sweeps; wake-ups closer than this make a pipe busy
_BUSY_WAKEUPS_COUNT = 3
_BUSY_WAKEUPS_OF_TWO_COUNT = 500  # while the sibling is written to as well: the order within a burst is worth them
_SILENT_SWEEPS_COUNT = 20  # sweeps without output, after which a pipe is not busy any more
_AIM_BYTES = PIPE_BYTES // 4  # the most that the fastest child should write until the next sweep
_SHORTEST_PAUSE_SECONDS = 0.0005


class Pipe:
    """The pipe to which a child writes. `write_end` is for the child; `hand_over` closes it once the child has it.

    `on_chunk` is called with each chunk in order. `on_end` is called once: when the last writer has closed the pipe, or
    when `PipeReader.close` is called. `sibling` is the pipe of the other stream of the same child, if there is one.
    """

    def __init__(self, on_chunk: Callable[[bytes], None], on_end: Callable[[], None], *, large: bool = True) -> None:
        self.on_chunk = on_chunk
        self.on_end = on_end
        self.closed = False
        self.sibling: Pipe | None = None
        self.fd, self.write_end = os.pipe()
        os.set_blocking(self.fd, False)
        if large:
            self.enlarge()

    def enlarge(self) -> None:
        """Let the pipe hold PIPE_BYTES, or what it holds by default where the kernel allows no more.

        The kernel limits the total size of all pipes of a user (fs.pipe-user-pages-soft, pipe(7)).
        """
        with suppress(OSError):
            fcntl.fcntl(self.fd, fcntl.F_SETPIPE_SZ, PIPE_BYTES)

    def hand_over(self) -> None:
        """Close the write end, which the child has inherited."""
        if self.write_end >= 0:
            os.close(self.write_end)
            self.write_end = -1


class PipeReader:
    """Reads the pipes of all children, without a task of its own."""

    def __init__(self) -> None:
        self._busy: dict[Pipe, int] = {}  # value: the number of sweeps in a row without output
        self._wakeups: dict[Pipe, tuple[float, int]] = {}  # loop time of the last, and how many in quick succession
        self._timer: asyncio.Handle | None = None
        self._last_sweep = 0.0

    @property
    def busy(self) -> int:
        """Return the number of busy pipes."""
        return len(self._busy)

    def add(self, pipe: Pipe) -> None:
        """Start reading `pipe`. Call `close` for it at the end."""
        self._wakeups[pipe] = (0.0, 0)
        asyncio.get_running_loop().add_reader(pipe.fd, self._on_readable, pipe)

    def drain(self, pipe: Pipe) -> None:
        """Read what is in the pipe now, so that this output comes before the next published event."""
        while not pipe.closed and self._read(pipe):
            pass

    def close(self, pipe: Pipe) -> None:
        """Stop reading `pipe`, and close it. Does nothing when it is closed."""
        if pipe.closed:
            return
        pipe.closed = True
        pipe.hand_over()
        if self._busy.pop(pipe, None) is None and pipe in self._wakeups:
            asyncio.get_running_loop().remove_reader(pipe.fd)
        self._wakeups.pop(pipe, None)
        os.close(pipe.fd)
        pipe.on_end()

    def _on_readable(self, pipe: Pipe) -> None:
        """Read a pipe that is not busy, and make it busy when it is readable too often."""
        if pipe.sibling is not None and pipe.sibling in self._busy:
            self._read_several(pipe.sibling)
        loop = asyncio.get_running_loop()
        now = loop.time()
        before, wakeups = self._wakeups[pipe]
        wakeups = wakeups + 1 if now - before < _SWEEP_SECONDS else 0
        self._wakeups[pipe] = (now, wakeups)
        self._read(pipe)
        limit = _BUSY_WAKEUPS_OF_TWO_COUNT if self._is_active(pipe.sibling, now) else _BUSY_WAKEUPS_COUNT
        if wakeups >= limit and not pipe.closed:
            loop.remove_reader(pipe.fd)
            self._busy[pipe] = 0
            pipe.enlarge()
            if self._timer is None:
                self._last_sweep = now
                self._timer = loop.call_later(_SWEEP_SECONDS, self._sweep)

    def _is_active(self, pipe: Pipe | None, now: float) -> bool:
        """Return whether a pipe is busy, or was readable within the last sweep."""
        if pipe is None or pipe in self._busy:
            return pipe is not None
        return now - self._wakeups.get(pipe, (0.0, 0))[0] < _SWEEP_SECONDS

    def _sweep(self) -> None:
        """Read all busy pipes, and schedule the next sweep before the fastest child fills a quarter of its pipe."""
        loop = asyncio.get_running_loop()
        now = loop.time()
        fastest = 0
        for pipe in tuple(self._busy):
            size = self._read_several(pipe)
            if pipe.closed:
                continue
            fastest = max(fastest, size)
            silent = 0 if size else self._busy[pipe] + 1
            self._busy[pipe] = silent
            if silent > _SILENT_SWEEPS_COUNT:
                del self._busy[pipe]
                self._wakeups[pipe] = (0.0, 0)
                loop.add_reader(pipe.fd, self._on_readable, pipe)
        rate = fastest / max(now - self._last_sweep, _SHORTEST_PAUSE_SECONDS)
        self._last_sweep = now
        self._timer = None
        if self._busy:
            pause = min(_SWEEP_SECONDS, _AIM_BYTES / rate) if rate else _SWEEP_SECONDS
            self._timer = loop.call_later(pause if pause > _SHORTEST_PAUSE_SECONDS else 0, self._sweep)

    def _read_several(self, pipe: Pipe) -> int:
        """Read a pipe until it is empty, but at most _READS_AT_ONCE_COUNT chunks; return their size in bytes."""
        size = 0
        for _ in range(_READS_AT_ONCE_COUNT):
            if pipe.closed:
                break
            got = self._read(pipe)
            size += got
            if got < _READ_BYTES:
                break
        return size

    def _read(self, pipe: Pipe) -> int:
        """Read one chunk and pass it to the callback; return its size in bytes, 0 when there is none."""
        try:
            chunk = os.read(pipe.fd, _READ_BYTES)
        except BlockingIOError:
            return 0
        except OSError:  # EIO: the last program has closed the terminal
            chunk = b""
        if not chunk:
            self.close(pipe)
            return 0
        pipe.on_chunk(chunk)
        return len(chunk)
