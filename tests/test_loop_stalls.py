"""The longest stall of an event loop: waiting is none, blocking and computing are."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from tests.loop_stalls import MeasuredSelector, Stall, Stalls

SECONDS = 0.3


async def _block() -> None:
    time.sleep(SECONDS)  # noqa: ASYNC251  # the fault that is measured


async def _compute() -> None:
    end = time.thread_time() + SECONDS
    while time.thread_time() < end:
        pass


async def _wait() -> None:
    await asyncio.sleep(SECONDS)


def _measured(path: Path, work: Callable[[], Awaitable[None]]) -> Stall:
    stalls = Stalls(path)

    async def run() -> None:
        await asyncio.sleep(0)
        stalls.forget()
        await asyncio.sleep(0)
        await work()
        await asyncio.sleep(0)

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(MeasuredSelector(stalls))) as runner:
        runner.run(run())
    return Stalls(path).longest


def test_a_blocking_call_is_a_stall_without_processor_time(tmp_path: Path) -> None:
    """A call that sleeps in a coroutine is measured in full, and as blocked."""
    stall = _measured(tmp_path / "stalls", _block)
    # The clock of the thread and the schedule are read one after the other.
    assert min(stall) > 0.9 * SECONDS


def test_computing_is_a_stall(tmp_path: Path) -> None:
    """Processor time in one turn of the loop is measured in full."""
    assert _measured(tmp_path / "stalls", _compute).seconds > 0.9 * SECONDS


def test_waiting_is_no_stall(tmp_path: Path) -> None:
    """The time in which the loop waits for its sockets and timers does not count."""
    assert _measured(tmp_path / "stalls", _wait).seconds < SECONDS


def test_the_longest_stall_is_kept_until_it_is_forgotten(tmp_path: Path) -> None:
    """Another process reads it from the same file."""
    stalls = Stalls(tmp_path / "stalls")
    for seconds in (0.1, 0.4, 0.2):
        stalls.note(Stall(seconds, 0.0))
    reader = Stalls(tmp_path / "stalls")
    assert reader.longest == (0.4, 0.0)
    reader.forget()
    assert stalls.longest == (0.0, 0.0)
