"""The changes of processes that are stored, and the interface of their store: tables, or a node's journal."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple, Protocol, TypeAlias
from uuid import UUID

import msgspec

from smartmob.processes.model import Definition, ProcessEvent


class UpdateProcess(msgspec.Struct, frozen=True):
    """A change of a stored definition; a field that is None stays unchanged.

    It has no effect unless the definition of `slug` with this `created_at` is still stored.
    """

    slug: str
    created_at: datetime
    digest: str | None = None
    wanted: bool | None = None
    completed: bool | None = None

    def changed(self) -> dict[str, Any]:
        """Return the fields that change with their new values."""
        values = {"digest": self.digest, "wanted": self.wanted, "completed": self.completed}
        return {name: value for name, value in values.items() if value is not None}


class DeleteProcess(msgspec.Struct, frozen=True):
    """The deletion of a stored definition."""

    slug: str


class StoredEvent(msgspec.Struct, frozen=True):
    """A process event and its key."""

    id: UUID
    event: ProcessEvent


Change: TypeAlias = Definition | UpdateProcess | DeleteProcess | StoredEvent


class Unrestored(NamedTuple):
    """The number of wanted processes of a service that does not run, and the machine on which it ran."""

    service: str
    machine: str
    processes: int


class ProcessRecords(Protocol):
    """The stored definitions and events of the processes of one service."""

    async def adopt(self) -> None:
        """Take over the processes of a version that did not know services."""

    async def definitions(self) -> list[Definition]:
        """Return all definitions, in the order of their creation."""

    async def unrestored(self) -> list[Unrestored]:
        """Return the wanted processes of other services that do not run."""

    async def events(
        self,
        slug: str | None,
        since: datetime | None,
        until: datetime | None,
        after: tuple[datetime, UUID] | None,
        limit: int,
    ) -> list[StoredEvent]:
        """Return at most `limit` events, oldest first; see `ProcessStore.events`."""

    async def expire(self, before: datetime) -> None:
        """Delete the events that are older than `before`."""
