"""The events that the feature `metrics` publishes."""

from __future__ import annotations

import msgspec


class ContextStored(msgspec.Struct, frozen=True):
    """A context was stored, or was stored already."""

    h: str


class SessionStored(msgspec.Struct, frozen=True):
    """A session was stored for the first time."""

    session_h: str
    scm_ref: str


class MetricsStored(msgspec.Struct, frozen=True):
    """A number of metrics were stored in one transaction."""

    count: int


class VerdictsOutdated(msgspec.Struct, frozen=True):
    """Another process of the service has stored what can change verdicts: of these pairs of a session and a context.

    Without pairs all verdicts can have changed.
    """

    pairs: list[tuple[str, str]]


class SessionChanged(msgspec.Struct, frozen=True):
    """The tags or the commit of a session were changed."""

    session_h: str


class SessionDeleted(msgspec.Struct, frozen=True):
    """A session was deleted with its metrics."""

    session_h: str
    metrics: int
