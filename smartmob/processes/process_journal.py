"""The definitions and events of the processes of a node, in its journal."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from datetime import datetime
from uuid import UUID

import msgspec

from smartmob.kernel.journal.journal import Entry
from smartmob.processes.model import Definition
from smartmob.processes.process_changes import Change, DeleteProcess, StoredEvent, Unrestored, UpdateProcess

DEFINED, UPDATED, DELETED, EVENT = "process", "process_update", "process_delete", "process_event"
"""The kinds of changes in the journal."""

_KEPT_EVENTS = 2_000
"""Events that are kept on the node; the service has all of them."""

_DEFINITION = msgspec.json.Decoder(Definition)
_UPDATE = msgspec.json.Decoder(UpdateProcess)
_DELETE = msgspec.json.Decoder(DeleteProcess)
_EVENT = msgspec.json.Decoder(StoredEvent)


def encode(change: Change) -> Entry:
    """Return a change as an entry of the journal."""
    if isinstance(change, Definition):
        return DEFINED, change
    if isinstance(change, UpdateProcess):
        return UPDATED, change
    return (DELETED if isinstance(change, DeleteProcess) else EVENT), change


def outgoing(change: Change) -> Entry | None:
    """Return the record of a change for the service that this machine has joined, or None."""
    return encode(change) if isinstance(change, StoredEvent) else None


class ProcessJournal:
    """The stored processes of a node; implements `ProcessRecords` and `JournalTable`."""

    kinds = (DEFINED, UPDATED, DELETED, EVENT)

    def __init__(self) -> None:
        self._definitions: dict[str, Definition] = {}
        self._events: deque[StoredEvent] = deque(maxlen=_KEPT_EVENTS)

    def apply(self, kind: str, value: msgspec.Raw) -> None:
        """Apply a change, as `ProcessStore.commit` does."""
        if kind == DEFINED:
            definition = _DEFINITION.decode(value)
            self._definitions[definition.slug] = definition
        elif kind == DELETED:
            self._definitions.pop(_DELETE.decode(value).slug, None)
        elif kind == EVENT:
            self._events.append(_EVENT.decode(value))
        else:
            update = _UPDATE.decode(value)
            known = self._definitions.get(update.slug)
            if known is not None and known.created_at == update.created_at:
                self._definitions[update.slug] = msgspec.structs.replace(known, **update.changed())

    def entries(self) -> Iterator[Entry]:
        """Yield changes that lead to the present state."""
        for definition in self._definitions.values():
            yield DEFINED, definition
        for event in self._events:
            yield EVENT, event

    async def adopt(self) -> None:
        """Do nothing: a journal belongs to one node."""

    async def definitions(self) -> list[Definition]:
        """Return all definitions, in the order of their creation."""
        return sorted(self._definitions.values(), key=lambda each: (each.created_at, each.slug))

    async def unrestored(self) -> list[Unrestored]:
        """Return no processes: a journal belongs to one node."""
        return []

    async def events(
        self,
        slug: str | None,
        since: datetime | None,
        until: datetime | None,
        after: tuple[datetime, UUID] | None,
        limit: int,
    ) -> list[StoredEvent]:
        """Return at most `limit` events, oldest first; see `ProcessStore.events`."""
        found = (
            stored
            for stored in sorted(self._events, key=lambda each: (each.event.at, each.id))
            if (slug is None or stored.event.slug == slug)
            and (since is None or stored.event.at >= since)
            and (until is None or stored.event.at < until)
            and (after is None or (stored.event.at, stored.id) > after)
        )
        return [stored for stored, _ in zip(found, range(limit), strict=False)]

    async def expire(self, before: datetime) -> None:
        """Forget the events that are older than `before`."""
        self._events = deque((each for each in self._events if each.event.at >= before), maxlen=_KEPT_EVENTS)
