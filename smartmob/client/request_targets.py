"""The target of a request: its path with the arguments of a query, and the path that a redirect leads to."""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlencode, urljoin

from smartmob.client.http_connection import Origin, ResponseHead
from smartmob.client.refusals import NotSmartmob
from smartmob.errors import RemoteError


def with_query(path: str, query: Mapping[str, object]) -> str:
    """Return a path with the arguments of a query added; a list repeats its key."""
    if not query:
        return path
    pairs = [(key, str(one)) for key, value in query.items() for one in (value if isinstance(value, list) else [value])]
    return f"{path}{'&' if '?' in path else '?'}{urlencode(pairs)}"


def redirected(url: str, origin: Origin, method: str, target: str, answer: ResponseHead) -> str:
    """Return the target to which a redirect leads; raises RemoteError for a redirect that is not followed.

    A client follows one only with GET and on the same server, which is named `url` by the user.
    """
    location = answer.headers["location"]
    address = urljoin(f"{origin.root}{target}", location)
    to = Origin.parsed(address)
    if to is None or to.root != origin.root:
        raise RemoteError(
            f"{origin.root} redirects to another address, {location[:200]!r}; give that one if you trust it"
        )
    if method != "GET":
        raise NotSmartmob(url, f"it redirects to {location[:200]!r}")
    return address[len(origin.root) :] or "/"
