"""The certificate authorities that this machine trusts, for TLS clients of a long-running command.

aiohttp makes two contexts when it is imported, and reads all authorities of the machine into each: about 150 of them,
45 ms of processor time and 2 MB together. Most services never call another machine by HTTPS. So the service leaves them
out of these contexts, and a connector that it makes has a context of its own, which `verification` makes when it is
first needed.
"""

from __future__ import annotations

import os
import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from smartmob.environment import changed

_LOCATIONS = ("SSL_CERT_FILE", "SSL_CERT_DIR")
"""The variables in which OpenSSL looks for the authorities: SSL_CTX_set_default_verify_paths(3)."""
_PROTOCOLS = ("http/1.1",)
"""The protocols that aiohttp's own context offers by ALPN (RFC 7301)."""

_late: list[str] = []
"""The modules that were imported without the authorities."""


@contextmanager
def read_late(importing: str) -> Iterator[None]:
    """Leave the authorities out of contexts that the import of the module `importing` makes within the block.

    Nothing is changed if it has been imported already. No other thread may make a context meanwhile.
    """
    if importing in sys.modules:
        yield
        return
    with changed(dict.fromkeys(_LOCATIONS, os.devnull)):
        yield
    _late.append(importing)


def verification() -> ssl.SSLContext | bool:
    """Return the argument `ssl` of a connector of aiohttp that trusts the authorities of this machine."""
    return _context() if _late else True


@cache
def _context() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.set_alpn_protocols(_PROTOCOLS)
    return context
