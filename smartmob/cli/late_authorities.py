"""Loads the certificate authorities of the machine when a TLS connection is first made, and not at an import.

aiohttp makes a context for its clients as soon as it is imported, and reads all authorities of the machine into it,
some 150: 30 ms of processor time and 1 MB in each service, of which most never call another machine by HTTPS.
"""

from __future__ import annotations

import ssl
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


class _LateContext(ssl.SSLContext):
    """A context of a client without authorities, which loads those of the machine before its first connection."""

    def wrap_bio(self, *arguments: Any, **options: Any) -> ssl.SSLObject:
        """Return the TLS side of a connection that an event loop makes."""
        self._load()
        return self.wrap_bio(*arguments, **options)

    def wrap_socket(self, *arguments: Any, **options: Any) -> ssl.SSLSocket:
        """Return a socket with TLS."""
        self._load()
        return self.wrap_socket(*arguments, **options)

    def _load(self) -> None:
        # From now on it is an ordinary context.
        self.__class__ = ssl.SSLContext  # type: ignore[assignment]  # mypy takes the class of an object for fixed
        self.load_default_certs()


@contextmanager
def loaded_late(importing: str) -> Iterator[None]:
    """Let contexts that are made within the block, with the defaults for a client, load the authorities late.

    The block imports the module `importing`; nothing is changed if that has been imported already. No other thread may
    run meanwhile.
    """
    if importing in sys.modules:
        yield
        return
    make = ssl.create_default_context

    def make_late(purpose: ssl.Purpose = ssl.Purpose.SERVER_AUTH, **given: Any) -> ssl.SSLContext:
        if given or purpose != ssl.Purpose.SERVER_AUTH:
            return make(purpose, **given)
        load = ssl.SSLContext.load_default_certs
        ssl.SSLContext.load_default_certs = lambda *_: None  # type: ignore[method-assign]  # until the next line
        try:
            context = make()
        finally:
            ssl.SSLContext.load_default_certs = load  # type: ignore[method-assign]  # as it was
        context.__class__ = _LateContext
        return context

    ssl.create_default_context = make_late
    try:
        yield
    finally:
        ssl.create_default_context = make
