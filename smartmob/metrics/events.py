"""The events that the feature `metrics` publishes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ContextStored:
    """A context was stored, or was stored already."""

    h: str


@dataclass(frozen=True, slots=True)
class SessionStored:
    """A session was stored for the first time."""

    session_h: str
    scm_ref: str


@dataclass(frozen=True, slots=True)
class MetricsStored:
    """A number of metrics were stored in one transaction."""

    count: int


@dataclass(frozen=True, slots=True)
class VerdictsOutdated:
    """Another process of the service has stored what can change verdicts: of these pairs of a session and a context.

    Without pairs all verdicts can have changed.
    """

    pairs: list[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class SessionChanged:
    """The tags or the commit of a session were changed."""

    session_h: str


@dataclass(frozen=True, slots=True)
class SessionDeleted:
    """A session was deleted with its metrics."""

    session_h: str
    metrics: int
