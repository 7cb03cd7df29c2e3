"""Authentication of requests: tokens, the session cookie, and the rules on Host and Origin.

The rules on Host and Origin apply with and without a token. They stop two attacks by a page that a person on this
machine opens: DNS rebinding (the name of the page is made to resolve to this machine; the header Host shows it) and
cross-site requests (the header Origin shows them). There is no CORS.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import ipaddress
import re
import secrets
import socket
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from functools import lru_cache

from smartmob.errors import NotAllowed, NotAuthenticated
from smartmob.kernel.auth.active_requests import ActiveRequests
from smartmob.kernel.auth.attempt_limit import AttemptLimit
from smartmob.kernel.auth.events import Credential
from smartmob.kernel.auth.model import CONTROL, Principal, Role, StoredToken, labels_of
from smartmob.kernel.auth.node_access import SCHEME, NodeAccess
from smartmob.kernel.runtime import clock

COOKIE = "smartmob_session"
"""The beginning of the names of session cookies; alone, it is the name that early versions of the service used."""

COOKIE_SECONDS = 14 * 24 * 3600
_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_MAX_REMEMBERED_HOSTS = 256  # values of the header Host
_NETLOC = re.compile(r"(?:\[(?P<bracketed>[0-9a-f:.]+(?:%[\w.~-]+)?)\]|(?P<name>[\w.-]+))(?::(?P<port>[0-9]{0,5}))?")

OWNER = Principal(None, CONTROL)
"""The principal of the token that the service was started with."""


PRINCIPAL: ContextVar[Principal | None] = ContextVar("principal", default=None)
"""The principal of the present request; None if the service has no token or the route is public."""


class TokenAuthenticator:
    """Authenticates clients by the service's own token, which allows everything, and by stored tokens.

    `set_stored` replaces the stored tokens. `tries` limits failed attempts. `instance` is a text that differs from
    other services on the same host, because browsers send the cookies of all services of a host to each of them.
    """

    def __init__(self, token: str | None, tries: AttemptLimit | None = None, instance: str = "") -> None:
        if token == "":
            raise ValueError("an empty token would accept every client")
        self._token = None if token is None else token.encode()
        self._bearer = b"Bearer " + (self._token or b"")
        self._key = _cookie_key(self._token)
        self._stored: dict[bytes, StoredToken] = {}
        self._cookie = f"{COOKIE}_{hashlib.sha256(instance.encode(errors='surrogateescape')).hexdigest()[:8]}"
        self.active_requests = ActiveRequests()
        self.node_access = NodeAccess()
        self.tries = AttemptLimit() if tries is None else tries

    @property
    def required(self) -> bool:
        """Return whether clients must show a token."""
        return self._token is not None

    def set_stored(self, stored: Iterable[StoredToken]) -> None:
        """Replace the stored tokens; cut connections of tokens that are no longer among them."""
        self._stored = {token.digest: token for token in stored}
        self.abort_invalid()

    def remove_stored(self, name: str) -> None:
        """Remove the stored token of this name; cut its connections."""
        self.set_stored([token for token in self._stored.values() if token.name != name])

    def abort_invalid(self) -> None:
        """Cut connections of tokens that are revoked or expired."""
        self.active_requests.abort_invalid(lambda digest: self._valid(digest) is not None)

    def authenticate(self, authorization: str | None, cookie: str | None) -> Principal:
        """Return the principal of this header or cookie; raises NotAuthenticated if neither is valid."""
        if authorization is not None and authorization.startswith(SCHEME):
            return self.node_access.principal(authorization)
        if self._token is None:
            return OWNER
        principal = None if authorization is None else self._from_header(authorization)
        if principal is None and cookie is not None:
            principal = self._from_cookie(cookie)
        if principal is None:
            raise NotAuthenticated
        return principal

    def authenticate_limited(
        self, authorization: str | None, cookie: str | None, client: str | None, path: str
    ) -> Principal:
        """Return the principal, as `authenticate`, and count failed attempts by address; raises TooManyTries too.

        A request without header and cookie is no attempt: a browser on its way to the login page, a health check.
        """
        if self._token is None or (authorization is None and cookie is None):
            return self.authenticate(authorization, cookie)
        secret, kind = (cookie or "", "cookie") if authorization is None else (authorization, "header")
        return self.tries.check_now(
            Credential(client, secret, kind, path), lambda: self.authenticate(authorization, cookie)
        )

    def sign_in(self, given: str, client: str | None, path: str) -> Principal:
        """Return the principal of a token from the login page; raises NotAuthenticated and TooManyTries."""

        def check() -> Principal:
            if (principal := self.principal_of(given)) is None:
                raise NotAuthenticated
            return principal

        return self.tries.check_now(Credential(client, given, "form", path), check)

    def allows(self, authorization: str | None, cookie: str | None, *roles: Role) -> bool:
        """Return whether this header or cookie has one of these roles; False if the service itself has no token."""
        try:
            principal = self.authenticate(authorization, cookie)
            return self.required and principal.role in roles and not principal.only_nodes
        except NotAuthenticated:
            return False

    def principal_of(self, token: str) -> Principal | None:
        """Return the principal of a token, or None if it is not valid."""
        return self._principal_of(token.encode(errors="surrogateescape"))

    def cookie_name(self, secure: bool) -> str:
        """Return the name of this service's session cookie.

        Over TLS it has the prefix `__Host-`, so that no other site can set it (RFC 6265bis, section 4.1.3.2).
        """
        return f"__Host-{self._cookie}" if secure else self._cookie

    def cookie_of(self, cookies: Mapping[str, str], secure: bool) -> str | None:
        """Return the session cookie among those of a request; one with the old name counts if there is no other."""
        return cookies.get(self.cookie_name(secure), cookies.get(COOKIE))

    def cookie(self, principal: Principal = OWNER) -> str:
        """Return the value of a new session cookie: expiry, nonce, digest of the token, and a signature of them."""
        plain = f"{int(clock.epoch()) + COOKIE_SECONDS}.{secrets.token_urlsafe(9)}.{principal.digest.hex()}"
        return f"{plain}.{self._sign(plain)}"

    def _principal_of(self, token: bytes) -> Principal | None:
        if self._token is not None and hmac.compare_digest(token, self._token):
            return OWNER
        # The lookup uses a digest, so the time that it takes reveals nothing about a token.
        return self._valid(hashlib.sha256(token).digest()) if self._stored else None

    def _valid(self, digest: bytes) -> Principal | None:
        stored = self._stored.get(digest)
        if stored is None or not stored.is_valid(clock.now()):
            return None
        return Principal(stored.name, stored.role, digest, labels_of(stored.only_nodes))

    def _from_header(self, authorization: str) -> Principal | None:
        given = authorization.encode(errors="surrogateescape")
        if hmac.compare_digest(given, self._bearer):
            return OWNER
        scheme, _, value = given.partition(b" ")
        if scheme.lower() == b"bearer":
            return self._principal_of(value.strip())
        if scheme.lower() != b"basic":
            return None
        try:
            _, colon, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        except binascii.Error:
            return None
        return self._principal_of(password) if colon else None

    def _from_cookie(self, cookie: str) -> Principal | None:
        plain, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(errors="surrogateescape"), self._sign(plain).encode()):
            return None
        expiry, _, digest = plain.split(".")
        if int(expiry) <= clock.epoch():
            return None
        return self._valid(bytes.fromhex(digest)) if digest else OWNER

    def _sign(self, plain: str) -> str:
        return hmac.new(self._key, plain.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()


def _cookie_key(token: bytes | None) -> bytes:
    """Return the key that signs cookies: derived from the service's token, so a new token invalidates all cookies.

    The derivation is slow on purpose (scrypt): the holder of any cookie can test guesses of the service's token against
    the signature, and a person may have chosen a weak token.
    """
    return secrets.token_bytes(32) if token is None else _derived(token)


@lru_cache(maxsize=8)
def _derived(token: bytes) -> bytes:
    return hashlib.scrypt(token, salt=b"smartmob cookie", n=2**14, r=8, p=1, dklen=32)


class HostRules:
    """Decides by the headers Host and Origin whether a request was meant for this service."""

    def __init__(self, bound: str, allowed: Iterable[str] = ()) -> None:
        own = {"localhost", bound, socket.gethostname(), socket.getfqdn(), *allowed}
        self._names = {name.lower().rstrip(".") for name in own if name}
        self._accepted: set[str] = set()

    def check(
        self,
        method: str,
        headers: Mapping[str, str],
        upgrade: bool,
        secure: bool = False,
        forwarded_host: str | None = None,
    ) -> None:
        """Raise NotAllowed for a foreign Host, and for a changing request or a WebSocket of a foreign Origin.

        `secure` means that the request came over TLS. Without it a proxy may terminate TLS, so both schemes fit.
        `forwarded_host` is the Host that the client sent to a trusted proxy. It must be one of ours like the Host of
        the request itself, since many proxies pass such a header of a client on.
        """
        host = headers.get("Host")
        for name in (host,) if forwarded_host is None else (host, forwarded_host):
            if name is None or (name not in self._accepted and not self._accept(name)):
                raise NotAllowed(
                    f"the service does not answer to the name {name!r}. "
                    "If the name is right, start the service with --allow-host and that name."
                )
        host = forwarded_host or host or ""
        if (upgrade or method not in _SAFE_METHODS) and not self._same_origin(host, headers, secure):
            raise NotAllowed(f"a page of {headers.get('Origin', 'another site')!r} may not use this service")

    def _accept(self, host: str) -> bool:
        parts = _split(host)
        if parts is None:
            return False
        name = parts[0]
        # DNS rebinding needs a name, so every address is accepted.
        if name not in self._names and not _is_address(name):
            return False
        if len(self._accepted) < _MAX_REMEMBERED_HOSTS:
            self._accepted.add(host)
        return True

    @staticmethod
    def _same_origin(host: str, headers: Mapping[str, str], secure: bool) -> bool:
        origin = headers.get("Origin")
        if origin is None:
            return headers.get("Sec-Fetch-Site") not in ("cross-site", "same-site")
        scheme, separator, netloc = origin.partition("://")
        if not separator or scheme not in (("https",) if secure else ("http", "https")):
            return False
        default = "443" if scheme == "https" else "80"
        here, there = _split(host), _split(netloc)
        if here is None or there is None:
            return False
        return here[0] == there[0] and (here[1] or default) == (there[1] or default)


def _split(netloc: str) -> tuple[str, str] | None:
    """Return the host (in lower case, without brackets) and the port of `netloc`, or None if it is not valid."""
    match = _NETLOC.fullmatch(netloc.strip().lower())
    if match is None:
        return None
    return match["bracketed"] or match["name"].rstrip("."), match["port"] or ""


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
