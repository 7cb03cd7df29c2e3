"""The events of tokens and of attempts to authenticate on the event bus."""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec


class TokensChanged(msgspec.Struct, frozen=True):
    """A token was made or revoked."""

    name: str


@dataclass(frozen=True, slots=True)
class Credential:
    """A secret that a client sends, with its address, the kind of secret for the log, and the path of the request."""

    client: str | None
    secret: str = field(repr=False)
    kind: str
    path: str


class CredentialRefused(msgspec.Struct, frozen=True):
    """A credential of a client was refused for the first time. The event has its kind and the path, not the secret.

    Repeated ones are not published. `client` is empty if it has no address.
    """

    client: str
    kind: str
    path: str


class AttemptMade(msgspec.Struct, frozen=True):
    """A credential with this digest was accepted or refused for the first time from this address."""

    address: str
    digest: bytes
    accepted: bool
