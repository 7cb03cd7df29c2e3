"""Signals that cancel a command."""

from __future__ import annotations

import asyncio
import os
import signal

import pytest

from smartmob.cli.stopping_signals import cancelled_by_signals


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_a_signal_cancels_the_block(number: signal.Signals) -> None:
    """The signal does not end the process, and is given back its old handler."""
    before = signal.getsignal(number)

    async def work() -> None:
        with cancelled_by_signals():
            os.kill(os.getpid(), number)
            await asyncio.Event().wait()

    with pytest.raises(asyncio.CancelledError):
        await asyncio.gather(work())
    assert signal.getsignal(number) in (before, signal.default_int_handler, signal.SIG_DFL)


async def test_an_ignored_signal_stays_ignored() -> None:
    """A command that was started with nohup goes on."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with cancelled_by_signals():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGHUP) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)
