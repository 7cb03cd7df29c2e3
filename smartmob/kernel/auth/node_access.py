"""The authorisation of requests that a service passes on to a node: a secret of the link, and the role of the client.

The service has checked the client's token, which the node does not know. The header is
`Authorization: Node SECRET ROLE`.
"""

from __future__ import annotations

import hashlib
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


def service_secret(token: str, service: str) -> str:
    """Return the secret with which other services that have the same token may use the service of this id."""
    return hmac.new(token.encode(), f"service {service}".encode(), hashlib.sha256).hexdigest()


class NodeAccess:
    """The secrets that authorise passed-on requests: of the node's present link, and of this service; or None."""

    def __init__(self) -> None:
        self._secret: str | None = None
        self._of_service: str | None = None

    def set_secret(self, secret: str | None) -> None:
        """Accept only this secret of a link; None accepts no secret."""
        self._secret = secret

    def set_service_secret(self, secret: str) -> None:
        """Accept the secret of this service, see `service_secret`."""
        self._of_service = secret

    def principal(self, header: str) -> Principal:
        """Return the principal of a header that begins with SCHEME; raises NotAuthenticated."""
        secret, _, role = header.removeprefix(SCHEME).partition(" ")
        given = secret.encode(errors="surrogateescape")
        valid = [one.encode() for one in (self._secret, self._of_service) if one is not None]
        if True not in [hmac.compare_digest(given, one) for one in valid]:
            raise NotAuthenticated
        for one in get_args(Role):
            if role == one:
                return Principal(None, one)
        raise NotAuthenticated
