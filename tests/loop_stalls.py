"""Measures the longest stall of a service's event loop, on a busy machine too.

As a program it starts `smartmob` in its own process: `python loop_stalls.py FILE serve …`. Tests read FILE (`Stalls`).

A turn of the loop is the time between two looks at its sockets (epoll_wait(2)), in which no other client is served. A
stall is the time of a turn without the run delay of the loop's thread: the nanoseconds for which it could have run, and
other programs had the processor (the second number of `/proc/thread-self/schedstat`; sched-stats.rst of Linux). The
rest is what the service itself caused: the time on the processor, and the time for which a call, a lock or the GIL
blocked it. The run delay of another thread that holds the GIL, and what a hypervisor takes, are not known: a test that
finds a long stall measures again before it fails.
"""

from __future__ import annotations

import mmap
import os
import runpy
import selectors
import struct
import sys
import time
from pathlib import Path
from typing import Any, NamedTuple, cast

_DECIMALS = struct.Struct("dd")
"""The longest stall, and for how much of it the loop was blocked, in seconds."""


class Stall(NamedTuple):
    """The longest stall, and how much of it the loop was blocked and did not compute; in seconds."""

    seconds: float
    blocked: float


class Stalls:
    """The longest stall of an event loop since the last `forget`, in a file that two processes share."""

    def __init__(self, path: Path) -> None:
        with path.open("a+b") as file:
            if not path.stat().st_size:
                file.write(bytes(_DECIMALS.size))
                file.flush()
            self._shared = mmap.mmap(file.fileno(), _DECIMALS.size)

    def forget(self) -> None:
        """Count only turns that end from now on."""
        _DECIMALS.pack_into(self._shared, 0, 0.0, 0.0)

    @property
    def longest(self) -> Stall:
        """Return the longest stall; a turn counts when it is over, so that a later request must have been answered."""
        return Stall(*_DECIMALS.unpack_from(self._shared))

    def note(self, stall: Stall) -> None:
        """Keep a stall if it is the longest."""
        if stall.seconds > self.longest.seconds:
            _DECIMALS.pack_into(self._shared, 0, *stall)


class MeasuredSelector(selectors.EpollSelector):
    """The selector of an event loop, made in its thread; it notes the stall of each turn."""

    def __init__(self, stalls: Stalls) -> None:
        super().__init__()
        self._stalls = stalls
        self._schedstat = os.open("/proc/thread-self/schedstat", os.O_RDONLY | os.O_CLOEXEC)
        self._begin()

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """End a turn, wait, and begin the next one."""
        wall = time.monotonic() - self._began
        stall = wall - (self._run_delay() - self._delay)
        self._stalls.note(Stall(stall, stall - (time.thread_time() - self._computed)))
        try:
            return super().select(timeout)
        finally:
            self._begin()

    def close(self) -> None:
        """Close the files."""
        os.close(self._schedstat)
        super().close()

    def _begin(self) -> None:
        self._began, self._computed, self._delay = time.monotonic(), time.thread_time(), self._run_delay()

    def _run_delay(self) -> float:
        return int(os.pread(self._schedstat, 100, 0).split()[1]) / 1e9


def _main() -> None:
    """Run `smartmob` with the selector in its event loop, which is that of asyncio."""
    del sys.path[0]  # the folder of tests
    path = Path(sys.argv.pop(1))
    sys.modules["uvloop"] = cast("Any", None)  # as if it were not installed
    names, normal = vars(selectors), selectors.DefaultSelector

    def first() -> MeasuredSelector:
        names["DefaultSelector"] = normal
        return MeasuredSelector(Stalls(path))

    names["DefaultSelector"] = first
    sys.argv[0] = "smartmob"
    runpy.run_module("smartmob", run_name="__main__")


if __name__ == "__main__":
    _main()
