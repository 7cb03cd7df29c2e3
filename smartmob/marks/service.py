"""What the feature `marks` does: keeps notes at moments, so that a curve can be read later."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from smartmob.errors import InvalidInput, NotFound
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.runtime import clock, ids
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.times import from_seconds, moment
from smartmob.marks.events import MarkAdded, MarkRemoved
from smartmob.marks.model import Mark, NewMark, shown
from smartmob.marks.store import MarkStore


class MarksService:
    """The use cases of the feature."""

    def __init__(self, store: MarkStore, live: GroupCommitWriter[Mark], bus: EventBus) -> None:
        self._store = store
        self._live = live
        self._bus = bus

    async def add(self, new: NewMark) -> Mark:
        """Keep a mark; raises InvalidInput for a text or a time that cannot be shown."""
        now = clock.now()
        text = shown("$.text", new.text)
        if not text:
            raise InvalidInput.at("$.text", "expected a text that is not blank")
        at = from_seconds("$.at", new.at) if isinstance(new.at, float) else moment("$.at", new.at, now)
        mark = Mark(id=ids.uuid7(), at=at, text=text, author=shown("$.author", new.author), made_at=now)
        await self._live.put((mark,))
        self._bus.publish(MarkAdded(mark))
        return mark

    async def marks(
        self, start: datetime, end: datetime, limit: int, after: tuple[datetime, UUID] | None = None
    ) -> list[Mark]:
        """Return the marks from `start` until before `end` in the order of time, behind the key `after`."""
        return await self._store.marks(start, end, after, limit)

    async def mark(self, ident: UUID) -> Mark:
        """Return one mark; raises NotFound."""
        mark = await self._store.mark(ident)
        if mark is None:
            raise _unknown(ident)
        return mark

    async def remove(self, ident: UUID) -> None:
        """Remove a mark; raises NotFound."""
        if not await self._store.delete(ident):
            raise _unknown(ident)
        self._bus.publish(MarkRemoved(ident))


def _unknown(ident: UUID) -> NotFound:
    return NotFound(f"there is no mark {ident}; GET /marks lists them")
