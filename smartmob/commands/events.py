"""The events that the feature `commands` publishes on the bus."""

from __future__ import annotations

import msgspec


class JobStarted(msgspec.Struct, frozen=True):
    """A job was recorded and starts."""

    id: int
    command: str
    client: str


class JobEnded(msgspec.Struct, frozen=True):
    """A job has ended."""

    id: int
    state: str
    exit_code: int | None


class CloseRequested(msgspec.Struct, frozen=True):
    """A client asked the service to stop; the jobs have ended."""

    client: str
