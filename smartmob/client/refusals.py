"""The sentences with which a client tells why a server refused it. They name options of the commands, not HTTP."""

from __future__ import annotations

import re

from smartmob import __version__
from smartmob.errors import RemoteError

_MISSING = "the service requires a token: give --token-file FILE, or set SMARTMOB_TOKEN"
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
    return _SUGGESTED_REQUEST.sub("", detail).replace("(?replace=true)", "with --replace")


class NotSmartmob(RemoteError):
    """Another program answers at the address `url`; `sent` says by what that is known."""

    def __init__(self, url: str, sent: str) -> None:
        super().__init__(f"{url} is not a smartmob service: {sent}. Check the address")


def says_nothing(url: str) -> str:
    """Return that an address takes connections and answers no request."""
    return f"{url} accepts connections but does not answer: is it the port of a smartmob service? Check the address"


def wrong_path(url: str, versions: str) -> str:
    """Return that a service has nothing for a command below an address with a path."""
    return f"there is nothing for this command below {url}: leave out its path, or update the service ({versions})"


def speaks(url: str, *, tls: bool) -> str:
    """Return that a server speaks https (`tls`) or http, and the address to give instead of `url`."""
    spoken, asked = ("https", "http") if tls else ("http", "https")
    return f"the server speaks {spoken}, not {asked}: give --server {spoken}{url[len(asked) :]}"


def other_version(server: str) -> str:
    """Return the versions of both sides; empty for a server of this version, and one that does not tell its version."""
    return f"server {server}, client {__version__}" if server and server != __version__ else ""
