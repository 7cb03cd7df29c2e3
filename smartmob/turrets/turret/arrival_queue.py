"""Hands out the starts of the open model: whoever is free takes the next one, in order, when it has come."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator

from smartmob.turrets.turret.schedule import Arrivals


class _Plan:
    """The starts that one process takes of an arrival plan: every `step`-th from `index`, from `now` on."""

    def __init__(self, arrivals: Arrivals, start: float, end: float, share: tuple[int, int]) -> None:
        self.start = start
        self.end = end
        self.taken = 0
        self._arrivals = arrivals
        self._index, self._step = share
        # A turret that joins late has not missed what was due before.
        begun = arrivals.due(time.monotonic() - start)
        self._first = begun + (self._index - begun) % self._step
        self._times: Iterator[float] = arrivals.from_index(self._first, self._step)
        self.following = self._advance()

    def take(self) -> float:
        """Return the next start and go on to the one after it."""
        assert self.following is not None
        start, self.following = self.following, self._advance()
        self.taken += 1
        return start

    def missed(self, now: float) -> int:
        """Return how many starts that were due nobody took."""
        due = self._arrivals.due(min(now, self.end) - self.start)
        wanted = max(0, -(-(due - self._first) // self._step))
        return max(0, wanted - self.taken)

    def _advance(self) -> float | None:
        offset = next(self._times, None)
        return None if offset is None or self.start + offset >= self.end else self.start + offset


class CoroutineArrivals(_Plan):
    """For coroutines: the free ones wait in a queue, and one timer waits for the next start."""

    def __init__(self, arrivals: Arrivals, start: float, end: float, share: tuple[int, int]) -> None:
        super().__init__(arrivals, start, end, share)
        self._free: deque[asyncio.Future[float | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._ceased = False

    async def next(self) -> float | None:
        """Return the intended start of the next transaction when it has come, or None when firing has ended."""
        if self._ceased:
            return None
        if not self._free and self.following is not None and self.following <= time.monotonic():
            return self.take()
        turn: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self._free.append(turn)
        if self._timer is None:
            self._wait()
        return await turn

    def cease(self) -> None:
        """Send the free ones home."""
        self._ceased = True
        if self._timer is not None:
            self._timer.cancel()
        for turn in self._free:
            if not turn.done():
                turn.set_result(None)
        self._free.clear()

    def _wait(self) -> None:
        if self.following is not None and self._free:
            delay = max(self.following - time.monotonic(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._go)

    def _go(self) -> None:
        self._timer = None
        now = time.monotonic()
        while self._free and self.following is not None and self.following <= now:
            turn = self._free.popleft()
            # One whose cannon was given up is not waiting any more.
            if not turn.done():
                turn.set_result(self.take())
        self._wait()


class ThreadArrivals(_Plan):
    """For threads: each takes its start beforehand and waits for it by itself."""

    def __init__(self, arrivals: Arrivals, start: float, end: float, share: tuple[int, int]) -> None:
        super().__init__(arrivals, start, end, share)
        self._lock = threading.Lock()
        self._cease = threading.Event()

    def cease(self) -> None:
        """Send the waiting ones home."""
        self._cease.set()

    def next(self) -> float | None:
        """Return the intended start of the next transaction when it has come, or None when firing has ended."""
        with self._lock:
            start = None if self.following is None else self.take()
        if start is None:
            self._cease.wait()
            return None
        if self._cease.wait(max(start - time.monotonic(), 0.0)):
            with self._lock:
                self.taken -= 1
            return None
        return start
