"""Background work that is repeated, such as the maintenance of tables."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from smartmob.errors import Unavailable
from smartmob.kernel.observability.event_logger import get_logger

log = get_logger()

FIRST_ROUND_SECONDS = 5.0
"""Seconds from the start of a service to its first maintenance: the requests that wait for it come first."""


async def run_periodically(
    work: Callable[[], Awaitable[object]], seconds: float, on_unavailable: Callable[[Unavailable], object]
) -> None:
    """Do `work` soon after the start and then every `seconds`, until cancelled.

    `on_unavailable` is called with the error of a round for which the database was unavailable. Any other error is
    logged. In both cases the next round tries again.
    """
    await asyncio.sleep(FIRST_ROUND_SECONDS)
    while True:
        try:
            await work()
        except Unavailable as error:
            on_unavailable(error)
        except Exception as error:
            task = asyncio.current_task()
            log.error("maintenance.broken", task="" if task is None else task.get_name(), exc_info=error)
        await asyncio.sleep(seconds)
