"""Waiting for a condition, with a time limit."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

_STEP, _LONGEST_STEP = 0.005, 0.03
"""Seconds between two looks at first and after a while: many conditions are requests to a service."""


async def until(condition: Callable[[], Any], seconds: float = 800.0) -> Any:
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
