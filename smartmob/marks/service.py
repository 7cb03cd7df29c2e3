"""The use cases of the feature `marks`: notes that explain a change in the curves of the timeline."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID

from smartmob.errors import InvalidInput, NotFound
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.runtime import clock, ids
from smartmob.kernel.runtime.events import EventBus
from smartmob.kernel.runtime.times import from_seconds, moment
from smartmob.marks.events import MarkCreated, MarkDeleted
from smartmob.marks.model import Mark, NewMark, one_line
from smartmob.marks.store import MarkStore


class MarksService:
    """The use cases of the feature."""

    def __init__(self, store: MarkStore, live: GroupCommitWriter[Mark], bus: EventBus) -> None:
        self._store = store
        self._live = live
        self._bus = bus

    async def create(self, new: NewMark) -> Mark:
        """Store a mark and return it. Raises InvalidInput for an invalid text or time."""
        now = clock.now()
        text = one_line("$.text", new.text)
        if not text:
            raise InvalidInput.at("$.text", "expected a text that is not blank")
        at = from_seconds("$.at", new.at) if isinstance(new.at, float) else moment("$.at", new.at, now)
        mark = Mark(id=ids.uuid7(), at=at, text=text, author=one_line("$.author", new.author), made_at=now)
        await self._live.put((mark,))
        self._bus.publish(MarkCreated(mark))
        return mark

    async def marks(
        self, start: datetime, end: datetime, limit: int, after: tuple[datetime, UUID] | None = None
    ) -> list[Mark]:
        """Return at most `limit` marks from `start` until before `end`, in the order of time, after the key `after`."""
        return await self._store.marks(start, end, after, limit)

    async def mark(self, ident: UUID) -> Mark:
        """Return one mark. Raises NotFound."""
        mark = await self._store.mark(ident)
        if mark is None:
            raise _not_found(ident)
        return mark

    async def delete(self, ident: UUID) -> None:
        """Delete a mark. Raises NotFound."""
        if not await self._store.delete(ident):
            raise _not_found(ident)
        self._bus.publish(MarkDeleted(ident))


def _not_found(ident: UUID) -> NotFound:
    return NotFound(f"there is no mark {ident}; GET /marks lists them")
