"""The assignment of the ports that processes get in the variable PORT."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection

_NUMBER = re.compile(r"(\d{1,5})$")
_PORTS_PER_TYPE = 100  # as in foreman
_HIGHEST_PORT = 65535  # the largest number of 16 bits
_MOST_TAKEN = 1_000  # taken ports in a row that are skipped


class Ports:
    """Assigns each process a port: `base` + 100 for each process type before its own in the Procfile + its number.

    The number is the one at the end of the node's name: `web.3` of a Procfile's first type gets `base` + 3 each time.
    Ports of other processes of this service are skipped, and so are those of the service itself (`reserved`) and those
    on which another program listens (`is_taken`).
    """

    def __init__(
        self, base: int, reserved: Collection[int] = (), is_taken: Callable[[int], bool] = lambda _: False
    ) -> None:
        self._base = base
        self._reserved = frozenset(reserved)
        self._owners: dict[int, str] = {}
        self._is_taken = is_taken

    def assign(self, slug: str, node: str, type_index: int) -> int:
        """Return the port for the process `slug`; `type_index` counts the types before its own in the Procfile."""
        self.release(slug)
        found = _NUMBER.search(node)
        port = self._base + _PORTS_PER_TYPE * type_index + (int(found[1]) if found else 0)
        if port > _HIGHEST_PORT:
            port = self._base
        taken = 0
        while port in self._owners or port in self._reserved or (taken < _MOST_TAKEN and self._is_taken(port)):
            taken += 1
            port = port + 1 if port < _HIGHEST_PORT else self._base
        self._owners[port] = slug
        return port

    def release(self, slug: str) -> None:
        """Make the port of a process available again, if it has one."""
        self._owners = {port: owner for port, owner in self._owners.items() if owner != slug}
