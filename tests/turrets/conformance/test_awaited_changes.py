"""Waiting for conditions with a limit."""

from __future__ import annotations

import asyncio

from smartmob.turrets.conformance.awaited_changes import AwaitedChanges


async def test_a_change_ends_the_wait() -> None:
    """A condition is looked at after each change, and until the limit."""
    changes, seen = AwaitedChanges(), []
    loop = asyncio.get_running_loop()
    loop.call_soon(changes.notify)
    loop.call_soon(seen.append, 1)
    loop.call_later(0.01, changes.notify)
    assert await changes.until(lambda: seen, 600)
    assert not await changes.until(lambda: len(seen) > 1, 0.01)
    assert await changes.until(lambda: True, 0)
