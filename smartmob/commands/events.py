"""The events that the feature `commands` publishes on the bus."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class JobStarted:
    """A job was recorded and starts."""

    id: int
    command: str
    client: str


@dataclass(frozen=True, slots=True)
class JobEnded:
    """A job has ended."""

    id: int
    state: str
    exit_code: int | None


@dataclass(frozen=True, slots=True)
class CloseRequested:
    """A client asked the service to stop; the jobs have ended."""

    client: str
