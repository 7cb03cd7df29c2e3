"""A load test followed until its end, over connections that break, and stopped by CTRL-C."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import contextmanager
from typing import Any, get_args

from smartmob.cli import printing
from smartmob.cli.run_lookup import RUNS
from smartmob.client import http
from smartmob.client.http import RestClient
from smartmob.errors import RemoteError
from smartmob.turrets.model import ENDED, State

RECONNECT_SECONDS = 1.0
_ATTEMPTS = 60  # connections to a run whose connection breaks


async def live_frames(rest: RestClient, run: str) -> AsyncIterator[dict[str, Any]]:
    """Yield the frames of a run until its end; the last one has a final state. Raises RemoteError.

    The service may be restarted meanwhile: the run continues, so the connection is made again.
    """
    for attempt in range(_ATTEMPTS):
        try:
            async for frame in rest.frames(f"{RUNS}/{run}/live"):
                if frame["state"] not in get_args(State):
                    raise RemoteError(f"the server names the unknown state {str(frame['state'])[:200]!r}")
                yield frame
                if frame["state"] in ENDED:
                    return
        except http.ConnectionBroken:
            if attempt == _ATTEMPTS - 1:
                raise
        await asyncio.sleep(RECONNECT_SECONDS)
    raise RemoteError(f"the run {run} can no longer be followed; write its report with smartmob report {run}")


async def answer_of(request: Awaitable[dict[str, Any]]) -> dict[str, Any] | None:
    """Return the answer to a request, or None if the connection broke; the run goes on without its service."""
    try:
        return await request
    except http.ConnectionBroken:
        return None


@contextmanager
def stopped_by_interrupt() -> Iterator[asyncio.Event]:
    """Yield an event that the first SIGINT sets; the second SIGINT ends the command."""
    loop, interrupted = asyncio.get_running_loop(), asyncio.Event()

    def interrupt() -> None:
        loop.remove_signal_handler(signal.SIGINT)
        printing.say("stopping; once more to leave without waiting")
        interrupted.set()

    loop.add_signal_handler(signal.SIGINT, interrupt)
    try:
        yield interrupted
    finally:
        loop.remove_signal_handler(signal.SIGINT)
