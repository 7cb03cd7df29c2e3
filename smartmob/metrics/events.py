"""What happens in the feature `metrics`, as it is told on the bus."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContextStored:
    """A context was stored, or was known already."""

    h: str


@dataclass(frozen=True, slots=True)
class SessionStored:
    """A session was stored for the first time."""

    session_h: str
    scm_ref: str


@dataclass(frozen=True, slots=True)
class MetricsStored:
    """Metrics were stored together."""

    count: int


@dataclass(frozen=True, slots=True)
class SessionDeleted:
    """A session was removed with its metrics."""

    session_h: str
    metrics: int
