"""Who may do what: roles, the tokens that carry them, and whoever has shown one. No I/O."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Annotated, Literal

import msgspec

Role = Literal["read", "ingest", "control"]

READ: Role = "read"
INGEST: Role = "ingest"
CONTROL: Role = "control"

PREFIX = "smt_"
_NAME = r"^[A-Za-z0-9_-]{1,64}$"


@dataclass(frozen=True, slots=True)
class Principal:
    """Somebody who has been let in: by which token, None for the service's own, and what that allows."""

    token: str | None
    role: Role
    digest: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as it is kept: a digest of it, and until when it holds (None: for ever)."""

    name: str
    role: Role
    digest: bytes
    created_at: datetime
    expires_at: datetime | None

    def holds(self, now: datetime) -> bool:
        """Return whether it has not yet expired."""
        return self.expires_at is None or now < self.expires_at


class NewToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token to make: its name, what it allows, and after how many seconds it expires."""

    name: Annotated[str, msgspec.Meta(pattern=_NAME)]
    role: Role
    seconds: Annotated[float, msgspec.Meta(gt=0, le=100 * 366 * 86_400)] | None = None

    def expires(self, now: datetime) -> datetime | None:
        """Return until when it holds."""
        return None if self.seconds is None else now + timedelta(seconds=self.seconds)


class TokenEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A token in a list, without the token."""

    name: str
    role: Role
    created_at: datetime
    expires_at: datetime | None
    expired: bool


class MadeToken(msgspec.Struct, frozen=True, kw_only=True):
    """A new token; it is told this once and never again."""

    name: str
    role: Role
    expires_at: datetime | None
    token: str


def make_token() -> str:
    """Return a new token of 256 random bits."""
    return PREFIX + secrets.token_urlsafe(32)


def digest(token: str) -> bytes:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode(errors="surrogateescape")).digest()
