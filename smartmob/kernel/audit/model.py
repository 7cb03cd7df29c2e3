"""Audit events: the changes that clients have asked for. No I/O."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

import msgspec

from smartmob.kernel.auth.model import Principal

OWNER = "(owner)"
"""A client with the token that the service was started with; no name of a token has parentheses."""
ANYONE = "(anyone)"
"""A client of a service that has no token."""
REFUSED = "(refused)"
"""A client with a token, key or password that is not valid."""

_LONGEST_CHARACTERS = 500
"""Characters of a text of an event; a longer one is cut."""
_REMOVED = "\ufffd"


class AuditEvent(msgspec.Struct, frozen=True, kw_only=True):
    """A change that a client has asked for: by which token and address, on which node (null: here), and its outcome."""

    id: UUID
    at: datetime
    who: str
    client: str
    node: str | None
    action: str
    target: str
    outcome: str


def name_of(principal: Principal | None) -> str:
    """Return how a client is named."""
    if principal is None:
        return ANYONE
    return OWNER if principal.token is None else principal.token


def bounded(text: str) -> str:
    """Return a text of bounded length without control characters and surrogates, which a database refuses."""
    cut = text if len(text) <= _LONGEST_CHARACTERS else text[: _LONGEST_CHARACTERS - 1] + "…"
    return (
        cut if cut.isprintable() else "".join(character if character.isprintable() else _REMOVED for character in cut)
    )


def summary(args: Sequence[Any]) -> str:
    """Return the arguments of a command in one line: texts, numbers and lists of them, but no bytes and no objects."""
    words: list[str] = []
    for value in args:
        parts = value if isinstance(value, (list, tuple)) else (value,)
        words += [str(part) if isinstance(part, (str, int, float)) else "…" for part in parts]
        if sum(map(len, words)) > _LONGEST_CHARACTERS:
            break
    return bounded(" ".join(words))
