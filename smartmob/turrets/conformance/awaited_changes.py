"""Waits with a time limit for a condition that messages, requests and processes can make true."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


class AwaitedChanges:
    """Call `notify` after a change; `until` waits for one."""

    def __init__(self) -> None:
        self._event = asyncio.Event()

    def notify(self) -> None:
        """Make the waiting callers check their conditions."""
        self._event.set()

    async def until(self, condition: Callable[[], object], seconds: float) -> bool:
        """Return whether a condition became true within `seconds`."""
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        while not condition():
            self._event.clear()
            try:
                async with asyncio.timeout_at(end):
                    await self._event.wait()
            except TimeoutError:
                return bool(condition())
        return True
