"""The event by which features tell the audit log of a change that is no request of its own."""

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
