"""Queues of the open model's arrivals: a free cannon gets the next intended start, in order, when it is due."""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Iterator

from smartmob.turrets.turret.schedule import Arrivals


class _ArrivalShare:
    """The arrivals that one process serves: of all arrivals every `step`-th from `index`, from now on.

    `start` and `end` are times of the monotonic clock; `share` is (index, step).
    """

    def __init__(self, arrivals: Arrivals, start: float, end: float, share: tuple[int, int]) -> None:
        self.start = start
        self.end = end
        self.taken = 0
        self._arrivals = arrivals
        self._index, self._step = share
        # Arrivals that were due before a turret joined do not count as missed.
        begun = arrivals.due(time.monotonic() - start)
        self._first = begun + (self._index - begun) % self._step
        self._times: Iterator[float] = arrivals.from_index(self._first, self._step)
        self.next_start = self._advance()

    def take(self) -> float:
        """Return the next start and advance to the one after it."""
        assert self.next_start is not None
        start, self.next_start = self.next_start, self._advance()
        self.taken += 1
        return start

    def missed(self, now: float) -> int:
        """Return how many starts were due until `now` but not taken."""
        due = self._arrivals.due(min(now, self.end) - self.start)
        wanted = max(0, -(-(due - self._first) // self._step))
        return max(0, wanted - self.taken)

    def _advance(self) -> float | None:
        offset = next(self._times, None)
        return None if offset is None or self.start + offset >= self.end else self.start + offset


class CoroutineArrivalQueue(_ArrivalShare):
    """An arrival queue for coroutines: free ones wait in a queue, and one timer waits for the next start."""

    def __init__(self, arrivals: Arrivals, start: float, end: float, share: tuple[int, int]) -> None:
        super().__init__(arrivals, start, end, share)
        self._waiters: deque[asyncio.Future[float | None]] = deque()
        self._timer: asyncio.TimerHandle | None = None
        self._stopped = False

    async def next(self) -> float | None:
        """Wait until the next transaction is due and return its intended start, or None when firing has ended."""
        if self._stopped:
            return None
        if not self._waiters and self.next_start is not None and self.next_start <= time.monotonic():
            return self.take()
        waiter: asyncio.Future[float | None] = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        if self._timer is None:
            self._start_timer()
        return await waiter

    def missed(self, now: float) -> int:
        """Return how many starts were due until `now` but not taken, without those that a free cannon waits for.

        At a stop, the timer of the newest start may not have fired yet although that is due.
        """
        free = sum(1 for waiter in self._waiters if not waiter.done())
        return max(0, super().missed(now) - free)

    def stop(self) -> None:
        """Let all waiting calls of `next` return None."""
        self._stopped = True
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()

    def _start_timer(self) -> None:
        if self.next_start is not None and self._waiters:
            delay = max(self.next_start - time.monotonic(), 0.0)
            self._timer = asyncio.get_running_loop().call_later(delay, self._timer_fired)

    def _timer_fired(self) -> None:
        self._timer = None
        now = time.monotonic()
        while self._waiters and self.next_start is not None and self.next_start <= now:
            waiter = self._waiters.popleft()
            # The future of a cancelled cannon is done already.
            if not waiter.done():
                waiter.set_result(self.take())
        self._start_timer()


class ThreadArrivalQueue(_ArrivalShare):
    """An arrival queue for threads: each thread takes its start in advance and sleeps until then."""

    def __init__(self, arrivals: Arrivals, start: float, end: float, share: tuple[int, int]) -> None:
        super().__init__(arrivals, start, end, share)
        self._lock = threading.Lock()
        self._stop = threading.Event()

    def stop(self) -> None:
        """Let all waiting calls of `next` return None."""
        self._stop.set()

    def next(self) -> float | None:
        """Wait until the next transaction is due and return its intended start, or None when firing has ended."""
        with self._lock:
            start = None if self.next_start is None else self.take()
        if start is None:
            self._stop.wait()
            return None
        if self._stop.wait(max(start - time.monotonic(), 0.0)):
            with self._lock:
                self.taken -= 1
            return None
        return start
