"""Who may talk to the service: the tokens, the cookie made from it, and the rules on Host and Origin.

The rules on Host and Origin hold with and without a token. They stop two attacks of a page that a person on this
machine happens to open: DNS rebinding (the page's own name is made to point here; the Host header tells) and
cross-site requests (the Origin header tells). There is no CORS.
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

from smartmob.errors import NotAllowed, NotAuthenticated, StartupError
from smartmob.kernel.auth.active_requests import ActiveRequests
from smartmob.kernel.auth.attempt_limit import AttemptLimit, ShownSecret
from smartmob.kernel.auth.model import CONTROL, Principal, Role, StoredToken
from smartmob.kernel.runtime import clock

COOKIE = "smartmob_session"
"""What the names of session cookies end or begin with; by itself it is the name that all services once used."""

COOKIE_SECONDS = 14 * 24 * 3600
_SAFE_METHODS = frozenset(("GET", "HEAD", "OPTIONS"))
_REMEMBERED_HOSTS = 256
_NETLOC = re.compile(r"(?:\[(?P<bracketed>[0-9a-f:.]+(?:%[\w.~-]+)?)\]|(?P<name>[\w.-]+))(?::(?P<port>[0-9]{0,5}))?")

OWNER = Principal(None, CONTROL)
"""Whoever has the token that the service was started with."""


def check_bind(host: str, token: str | None, insecure: bool) -> None:
    """Refuse to listen where strangers can connect without a token; raises StartupError that says how to go on."""
    if token is not None or insecure or is_loopback(host):
        return
    raise StartupError(
        f"refusing to listen on {host} without a token, since everybody who can connect could run programs here. "
        "Put a secret into a file and give --token-file FILE (or set SMARTMOB_TOKEN), "
        "or listen on 127.0.0.1, or accept the risk with --insecure."
    )


def is_loopback(host: str) -> bool:
    """Return whether `host` can be reached from this machine only."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


VISITOR: ContextVar[Principal | None] = ContextVar("visitor", default=None)
"""Who sent the present request; None where everybody may do everything."""


class TokenAuthenticator:
    """Checks what a client shows against the service's own token, which allows all, and against those that are stored.

    `know` tells which are stored. Whoever is let in is a Visitor with a role. `tries` limits what is refused;
    `place` tells this service from others on the same host, whose cookies the browser sends as well.
    """

    def __init__(self, token: str | None, tries: AttemptLimit | None = None, place: str = "") -> None:
        if token == "":
            raise ValueError("an empty token would let everybody in")
        self._token = None if token is None else token.encode()
        self._bearer = b"Bearer " + (self._token or b"")
        self._key = _cookie_key(self._token)
        self._stored: dict[bytes, StoredToken] = {}
        self._cookie = f"{COOKIE}_{hashlib.sha256(place.encode(errors='surrogateescape')).hexdigest()[:8]}"
        self.active_requests = ActiveRequests()
        self.tries = AttemptLimit() if tries is None else tries

    @property
    def required(self) -> bool:
        """Return whether clients must show a token."""
        return self._token is not None

    def know(self, stored: Iterable[StoredToken]) -> None:
        """Take these tokens for the stored ones, and no others; what is under way by another one ends."""
        self._stored = {token.digest: token for token in stored}
        self.expel()

    def forget(self, name: str) -> None:
        """Take the token of this name for no stored one any more."""
        self.know([token for token in self._stored.values() if token.name != name])

    def expel(self) -> None:
        """End what is under way by tokens that hold no longer."""
        self.active_requests.expel(lambda digest: self._holding(digest) is not None)

    def authenticate(self, authorization: str | None, cookie: str | None) -> Principal:
        """Return who shows this header or cookie; raises NotAuthenticated unless one of them lets somebody in."""
        if self._token is None:
            return OWNER
        visitor = None if authorization is None else self._authorized(authorization)
        if visitor is None and cookie is not None:
            visitor = self._signed(cookie)
        if visitor is None:
            raise NotAuthenticated
        return visitor

    def admit(self, authorization: str | None, cookie: str | None, client: str | None, path: str) -> Principal:
        """Return who shows this header or cookie from an address; raises NotAuthenticated, and TooManyTries.

        Who shows nothing tries nothing: a browser that is sent to the login page, a check of a balancer.
        """
        if self._token is None or (authorization is None and cookie is None):
            return self.authenticate(authorization, cookie)
        shown = ShownSecret(
            client, *((cookie or "", "cookie") if authorization is None else (authorization, "header")), path
        )
        return self.tries.prove_now(shown, lambda: self.authenticate(authorization, cookie))

    def sign_in(self, given: str, client: str | None, path: str) -> Principal:
        """Return who has typed this token; raises NotAuthenticated, and TooManyTries."""

        def check() -> Principal:
            if (visitor := self.recognise(given)) is None:
                raise NotAuthenticated
            return visitor

        return self.tries.prove_now(ShownSecret(client, given, "form", path), check)

    def allows(self, authorization: str | None, cookie: str | None, *roles: Role) -> bool:
        """Return whether a token is shown that has one of these roles; without a token of the service none is."""
        try:
            return self.required and self.authenticate(authorization, cookie).role in roles
        except NotAuthenticated:
            return False

    def recognise(self, given: str) -> Principal | None:
        """Return who has this token, or None."""
        return self._recognise(given.encode(errors="surrogateescape"))

    def cookie_name(self, secure: bool) -> str:
        """Return the name of the session cookie of this service; over TLS it is one that no other site can set."""
        return f"__Host-{self._cookie}" if secure else self._cookie

    def cookie_of(self, cookies: Mapping[str, str], secure: bool) -> str | None:
        """Return the session cookie among those that a browser sends; one of the old name counts where it is alone."""
        return cookies.get(self.cookie_name(secure), cookies.get(COOKIE))

    def cookie(self, visitor: Principal = OWNER) -> str:
        """Return the value of a new session cookie: when it ends, a nonce, of which token, and a signature of all."""
        plain = f"{int(clock.epoch()) + COOKIE_SECONDS}.{secrets.token_urlsafe(9)}.{visitor.digest.hex()}"
        return f"{plain}.{self._sign(plain)}"

    def _recognise(self, given: bytes) -> Principal | None:
        if self._token is not None and hmac.compare_digest(given, self._token):
            return OWNER
        # What is looked up is a digest, so the time that it takes tells nothing of a token.
        return self._holding(hashlib.sha256(given).digest()) if self._stored else None

    def _holding(self, digest: bytes) -> Principal | None:
        stored = self._stored.get(digest)
        if stored is None or not stored.holds(clock.now()):
            return None
        return Principal(stored.name, stored.role, digest)

    def _authorized(self, authorization: str) -> Principal | None:
        given = authorization.encode(errors="surrogateescape")
        if hmac.compare_digest(given, self._bearer):
            return OWNER
        scheme, _, value = given.partition(b" ")
        if scheme.lower() == b"bearer":
            return self._recognise(value.strip())
        if scheme.lower() != b"basic":
            return None
        try:
            _, colon, password = base64.b64decode(value.strip(), validate=True).partition(b":")
        except binascii.Error:
            return None
        return self._recognise(password) if colon else None

    def _signed(self, cookie: str) -> Principal | None:
        plain, _, signature = cookie.rpartition(".")
        if not hmac.compare_digest(signature.encode(errors="surrogateescape"), self._sign(plain).encode()):
            return None
        end, _, mark = plain.split(".")
        if int(end) <= clock.epoch():
            return None
        return self._holding(bytes.fromhex(mark)) if mark else OWNER

    def _sign(self, plain: str) -> str:
        return hmac.new(self._key, plain.encode(errors="surrogateescape"), hashlib.sha256).hexdigest()


def _cookie_key(token: bytes | None) -> bytes:
    """Return what signs cookies: by it who changes the service's token signs everybody out.

    A reader's cookie is signed with it too, and a person may have chosen the service's token, so it is slow to derive:
    from the signature nobody shall be able to try words for the token that allows everything.
    """
    if token is None:
        return secrets.token_bytes(32)
    return hashlib.scrypt(token, salt=b"smartmob cookie", n=2**14, r=8, p=1, dklen=32)


class HostRules:
    """Decides by the Host and Origin headers whether a request was meant for this service."""

    def __init__(self, bound: str, further: Iterable[str] = ()) -> None:
        own = {"localhost", bound, socket.gethostname(), socket.getfqdn(), *further}
        self._names = {name.lower().rstrip(".") for name in own if name}
        self._accepted: set[str] = set()

    def check(self, method: str, headers: Mapping[str, str], upgrade: bool, secure: bool = False) -> None:
        """Raise NotAllowed for a foreign Host, and for a changing request or WebSocket of a foreign Origin.

        `secure` is a request over TLS; one without may come from a proxy that has it, so both schemes are ours then.
        """
        host = headers.get("Host")
        if host is None or (host not in self._accepted and not self._accept(host)):
            raise NotAllowed(
                f"the service does not answer to the name {host!r}. "
                "If it is right, start the service with --allow-host and that name."
            )
        if (upgrade or method not in _SAFE_METHODS) and not self._same_origin(host, headers, secure):
            raise NotAllowed(f"a page of {headers.get('Origin', 'another site')!r} may not use this service")

    def _accept(self, host: str) -> bool:
        parts = _split(host)
        if parts is None:
            return False
        name = parts[0]
        # An address as such cannot be rebound: only names can be made to point elsewhere.
        if name not in self._names and not _is_address(name):
            return False
        if len(self._accepted) < _REMEMBERED_HOSTS:
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
    """Return the name and the port of `netloc`, in lower case and without brackets, or None for what is no address."""
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
