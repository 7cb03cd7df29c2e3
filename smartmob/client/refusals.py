"""The sentences with which a client tells why a server refused it. They name options of the commands, not HTTP."""

from __future__ import annotations

import re

from smartmob import __version__

_MISSING = "the service asks for a token: give --token-file FILE, or set SMARTMOB_TOKEN"
_UNKNOWN = (
    "wrong token: the service does not know the one from --token-file or SMARTMOB_TOKEN, or it is expired or revoked"
)
_SUGGESTED_REQUEST = re.compile(r"[;:,]? (?:GET|POST|PUT|PATCH|DELETE) /\S*(?: lists(?: all)?(?: [a-z]+)+)?")
SERVER_NAME = "smartmob"
"""The header Server of every answer of a service."""


def not_authenticated(token: str | None) -> str:
    """Return what to do after an answer that asks for a token."""
    return _MISSING if token is None else _UNKNOWN


def for_people(detail: str) -> str:
    """Return the detail of a problem without the requests that it suggests to programs."""
    return _SUGGESTED_REQUEST.sub("", detail)


def not_smartmob(url: str, sent: str) -> str:
    """Return that another program answers at an address; `sent` says by what that is known."""
    return f"{url} is not a smartmob service: {sent}. Check the address"


def speaks(url: str, *, tls: bool) -> str:
    """Return that a server speaks https (`tls`) or http, and the address to give instead of `url`."""
    spoken, asked = ("https", "http") if tls else ("http", "https")
    return f"the server speaks {spoken}, not {asked}: give --server {spoken}{url[len(asked) :]}"


def other_version(server: str) -> str:
    """Return the versions of both sides; empty for a server of this version, and one that does not tell its version."""
    return f"server {server}, client {__version__}" if server and server != __version__ else ""
