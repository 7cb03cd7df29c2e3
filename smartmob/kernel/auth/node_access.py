"""The authorization of requests that a service passes on to a node: a secret of the link, and the role of the client.

The service has checked the client's token, which the node does not know. The header is
`Authorization: Node SECRET ROLE`.
"""

from __future__ import annotations

import hmac
import secrets
from typing import get_args

from smartmob.errors import NotAuthenticated
from smartmob.kernel.auth.model import Principal, Role

SCHEME = "Node "


def make_secret() -> str:
    """Return a new secret of 256 random bits; it is valid as long as the link of the node."""
    return secrets.token_urlsafe(32)


def authorization(secret: str, principal: Principal) -> str:
    """Return the header of a request that is passed on for a client."""
    return f"{SCHEME}{secret} {principal.role}"


class NodeAccess:
    """The secret of the present link of this node, which is None while there is no link."""

    def __init__(self) -> None:
        self._secret: str | None = None

    def set_secret(self, secret: str | None) -> None:
        """Accept this secret only, or with None no secret."""
        self._secret = secret

    def principal(self, header: str) -> Principal:
        """Return the principal of a header that begins with SCHEME; raises NotAuthenticated."""
        secret, _, role = header.removeprefix(SCHEME).partition(" ")
        given = secret.encode(errors="surrogateescape")
        if self._secret is None or not hmac.compare_digest(given, self._secret.encode()):
            raise NotAuthenticated
        for known in get_args(Role):
            if role == known:
                return Principal(None, known)
        raise NotAuthenticated
