"""Roles, the tokens that carry them, and principals. No I/O."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec

Role = Literal["read", "ingest", "control", "node"]

READ: Role = "read"
INGEST: Role = "ingest"
CONTROL: Role = "control"
NODE: Role = "node"
"""The role of machines that may join, and do nothing else."""

PREFIX = "smt_"
_NAME = r"^[A-Za-z0-9_-]{1,64}$(?!\n)"
_LABEL = r"[A-Za-z0-9]([A-Za-z0-9._/-]{0,61}[A-Za-z0-9])?(=[A-Za-z0-9._-]{0,63})?"
_ONLY = rf"^({_LABEL}(,{_LABEL})*)?$(?!\n)"


@dataclass(frozen=True, slots=True)
class Principal:
    """An authenticated client: the name of its token (None for the service's own) and the role of that token."""

    token: str | None
    role: Role
    digest: bytes = field(default=b"", repr=False)
    only_nodes: tuple[tuple[str, str | None], ...] = ()
    """The labels that a node must have, so that the client may use it and nothing else; empty for no limit."""


class StoredToken(msgspec.Struct, frozen=True):
    """A token as it is stored: as a digest, with its expiry (None: it never expires)."""

    name: str
    role: Role
    digest: bytes
    created_at: datetime
    expires_at: datetime | None
    only_nodes: str = ""

    def is_valid(self, now: datetime) -> bool:
        """Return whether the token has not expired."""
        return self.expires_at is None or now < self.expires_at


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token to make: its name, its role, and the seconds until it expires (None: never)."""

    name: Annotated[str, msgspec.Meta(pattern=_NAME)]
    role: Role
    seconds: Annotated[float, msgspec.Meta(gt=0, le=100 * 366 * 86_400)] | None = None
    only_nodes: Annotated[str, msgspec.Meta(pattern=_ONLY, max_length=1_000)] = ""
    """Labels, such as `rack=7,gpu`: the token is limited to nodes that have all of them."""

    def expires(self, now: datetime) -> datetime | None:
        """Return when the token expires, or None."""
        return None if self.seconds is None else now + timedelta(seconds=self.seconds)


class TokenEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A token in a list, without its secret."""

    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    expired: bool
    only_nodes: str = ""


class MadeToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new token with its secret, which no other answer contains."""

    name: str
    role: Role
    expires_at: datetime | None
    token: str
    only_nodes: str = ""


def labels_of(text: str) -> tuple[tuple[str, str | None], ...]:
    """Return the labels in a text such as `rack=7,gpu`; None stands for any value."""
    found = []
    for part in filter(None, text.split(",")):
        key, separator, value = part.partition("=")
        found.append((key, value if separator else None))
    return tuple(found)


def make_token() -> str:
    """Return a new token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """Return the SHA-256 digest of a token, which is stored instead of the token."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
