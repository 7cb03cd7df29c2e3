"""The events of tokens on the event bus."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TokensChanged:
    """A token was made or revoked."""

    name: str
