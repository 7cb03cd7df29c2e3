"""Headers that every answer of the service carries."""

from __future__ import annotations

from collections.abc import MutableMapping

REQUEST_ID_HEADER = "X-Request-Id"

SERVER = "smartmob"
"""The header Server of every answer. It names no version, because clients without a token read it too."""

_HSTS = "max-age=31536000"  # one year in seconds (RFC 6797, section 6.1.1)


def add_security_headers(headers: MutableMapping[str, str], secure: bool) -> None:
    """Tell browsers not to guess the media type and, if the request came over TLS, to use TLS for later requests."""
    headers["X-Content-Type-Options"] = "nosniff"
    if secure:
        headers["Strict-Transport-Security"] = _HSTS
