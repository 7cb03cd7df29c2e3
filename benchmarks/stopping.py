"""Ends a benchmark in order: SIGTERM and SIGHUP stop what it has started, as CTRL-C does."""

from __future__ import annotations

import signal
from collections.abc import Callable
from types import FrameType

from benchmarks.candidates import say

STOPPED = 130
"""The exit code of a benchmark that was stopped; that of a shell for a program that CTRL-C has ended (128 + SIGINT)."""


def run(main: Callable[[], int | None]) -> int:
    """Call `main` and return its exit code. A signal ends it by KeyboardInterrupt, so that its blocks are left."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        return main() or 0
    except KeyboardInterrupt:
        say("Stopped; nothing that was started is left.")
        return STOPPED


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    """End as after CTRL-C: an event loop that runs cancels its tasks."""
    if signal.getsignal(signal.SIGINT) in (signal.SIG_IGN, signal.SIG_DFL):
        # A shell without job control has its background programs ignore it.
        signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.raise_signal(signal.SIGINT)
