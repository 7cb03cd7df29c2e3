"""The event of a command that is called on a WebSocket, for the audit log."""

from __future__ import annotations

import msgspec


class CommandCalled(msgspec.Struct, frozen=True):
    """A command was called on a WebSocket: by which client, on which node (None: here), and its outcome."""

    name: str
    words: str
    client: str
    outcome: str
    node: str | None = None
