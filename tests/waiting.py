"""Waiting for a condition, with a time limit."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Callable
from typing import Any

_STEP = 0.005


async def until(condition: Callable[[], Any], seconds: float = 800.0) -> Any:
    """Return the first true value of `condition`, which may be a coroutine function; raise TimeoutError."""
    async with asyncio.timeout(seconds):
        while True:
            value = condition()
            if inspect.isawaitable(value):
                value = await value
            if value:
                return value
            await asyncio.sleep(_STEP)
