"""The logger of all modules."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import structlog

from smartmob.kernel.observability.event_logger import DESTINATION, get_logger

log = get_logger()


async def test_events_go_to_the_destination_of_their_context() -> None:
    """Tasks and threads inherit it; a service that has none of its own logs by structlog, as the process says."""
    taken: dict[str, list[tuple[str, str, dict[str, Any]]]] = {"a": [], "b": []}

    async def run(name: str) -> None:
        def take(level: str, event: str, fields: Mapping[str, Any]) -> None:
            taken[name].append((level, event, dict(fields)))

        DESTINATION.set(take)
        log.debug("x.debugged")
        log.info("x.done", number=1)
        await asyncio.to_thread(log.warning, "x.odd")
        try:
            raise ValueError
        except ValueError:
            log.exception("x.failed")
        log.error("x.broken", exc_info=None)

    with structlog.testing.capture_logs() as lines:
        await asyncio.gather(run("a"), run("b"))
        log.info("x.outside", number=2)
    assert lines == [{"event": "x.outside", "number": 2, "log_level": "info"}]
    assert taken["a"] == taken["b"]
    assert taken["a"] == [
        ("debug", "x.debugged", {}),
        ("info", "x.done", {"number": 1}),
        ("warning", "x.odd", {}),
        ("error", "x.failed", {"exc_info": True}),
        ("error", "x.broken", {"exc_info": None}),
    ]
