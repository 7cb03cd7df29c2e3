"""The events by which others tell the audit log of what is no authorised request."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CommandCalled:
    """A command was called on a WebSocket: by which client, on which node (None: here), and its outcome."""

    name: str
    words: str
    client: str
    outcome: str
    node: str | None = None


@dataclass(frozen=True, slots=True)
class LoginRefused:
    """A credential was refused: of which client, of which kind, and at which path; it is not told itself."""

    client: str
    kind: str
    path: str
