"""Events that tell the process that caches verdicts what was stored elsewhere."""

from __future__ import annotations

import asyncio

from smartmob.kernel.runtime.events import EventBus
from smartmob.metrics.events import VerdictsOutdated
from smartmob.metrics.verdict import outdated_verdicts
from smartmob.metrics.verdict.outdated_verdicts import OutdatedVerdicts


class _Dropped:
    """Keeps what it was told to drop."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def invalidate(self, session_h: str, context_h: str) -> None:
        self.told.append((session_h, context_h))

    def invalidate_all(self) -> None:
        self.told.append(())


async def test_one_event_tells_what_was_stored_in_one_turn() -> None:
    """Each pair once; everything when the whole store changed, or too many pairs."""
    bus, dropped = EventBus(), _Dropped()
    events: list[VerdictsOutdated] = []
    bus.subscribe(VerdictsOutdated, events.append)
    verdicts = OutdatedVerdicts(bus)
    for session in ("b", "a", "b"):
        verdicts.invalidate(session, "c")
    await asyncio.sleep(0)
    verdicts.invalidate("a", "c")
    verdicts.invalidate_all()
    await asyncio.sleep(0)
    for number in range(1_001):
        verdicts.invalidate(str(number), "c")
    await asyncio.sleep(0)
    assert [event.pairs for event in events] == [[("a", "c"), ("b", "c")], [], []]
    for event in events:
        outdated_verdicts.apply(dropped, event)
    assert dropped.told == [("a", "c"), ("b", "c"), (), ()]
