"""The ports that processes get in PORT."""

from __future__ import annotations

import re

_NUMBER = re.compile(r"(\d{1,5})$")
_PER_TYPE = 100
_HIGHEST = 65535


class Ports:
    """Gives each process a port of its own: `base`, 100 for each process type before its own, and its number.

    The number is what the node's name ends with, so that `web.3` of a Procfile's first type gets `base` + 3 again and
    again. A port that another process of this service has is passed over.
    """

    def __init__(self, base: int) -> None:
        self._base = base
        self._taken: dict[int, str] = {}

    def take(self, slug: str, node: str, type_index: int) -> int:
        """Return the port for the process `slug`, whose type is so far down in the Procfile."""
        self.give_back(slug)
        found = _NUMBER.search(node)
        port = self._base + _PER_TYPE * type_index + (int(found[1]) if found else 0)
        if port > _HIGHEST:
            port = self._base
        while port in self._taken:
            port = port + 1 if port < _HIGHEST else self._base
        self._taken[port] = slug
        return port

    def give_back(self, slug: str) -> None:
        """Take note that the process needs its port no more."""
        self._taken = {port: owner for port, owner in self._taken.items() if owner != slug}
