"""Waiting for a condition, with a time limit."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

SECONDS = 800.0
"""The seconds after which a test gives up; only a program that hangs takes so long, also on a busy machine."""

_STEP, _LONGEST_STEP = 0.005, 0.03
"""Seconds between two looks at first and after a while: many conditions are requests to a service."""


async def until(condition: Callable[[], Any], seconds: float = SECONDS) -> Any:
    """Return the first true value of `condition`, which may be a coroutine function; raise TimeoutError."""
    step = _STEP
    async with asyncio.timeout(seconds):
        while True:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(step)
            step = min(1.3 * step, _LONGEST_STEP)
