"""The signals that end a command, as a cancellation of its task: it can still print results and remove its files."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def cancelled_by_signals() -> Iterator[None]:
    """Cancel this task on CTRL-C, SIGTERM and SIGHUP until the end of the block, unless they are ignored.

    SIGTERM counts also where SIGINT is ignored, as in a job that a shell has put into the background.
    """
    loop, task = asyncio.get_running_loop(), asyncio.current_task()
    assert task is not None
    signals = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    numbers = [number for number in signals if signal.getsignal(number) != signal.SIG_IGN]
    for number in numbers:
        loop.add_signal_handler(number, task.cancel)
    try:
        yield
    finally:
        for number in numbers:
            loop.remove_signal_handler(number)
