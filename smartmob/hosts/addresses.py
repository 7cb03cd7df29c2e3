"""The addresses from which machines report, so that what else comes from there can be linked to them. No I/O."""

from __future__ import annotations

from collections.abc import Callable

_FRESH_SECONDS = 24 * 3600.0  # after which an address may have been given to another machine
_MAX_MACHINES = 100_000  # whose addresses are kept: some 20 MB


class HostAddresses:
    """The address of each machine that reported lately. `steady` is a clock in seconds."""

    def __init__(self, steady: Callable[[], float], own_name: Callable[[], str]) -> None:
        self._steady = steady
        self._own_name = own_name
        self._by_name: dict[str, tuple[str, float]] = {}

    def seen(self, name: str, address: str | None) -> None:
        """Keep the address from which a machine reports; None means that it is not known."""
        if address is None:
            self._by_name.pop(name, None)
            return
        if name not in self._by_name and len(self._by_name) >= _MAX_MACHINES:
            del self._by_name[next(iter(self._by_name))]
        self._by_name[name] = (address, self._steady())

    def host_at(self, address: str, *, is_local: bool) -> str | None:
        """Return the name of the only machine that reports from an address, or None if there is none or more.

        `is_local` means that the address is one of the machine of the service.
        """
        if is_local:
            return self._own_name()
        oldest = self._steady() - _FRESH_SECONDS
        names = [name for name, (known, at) in self._by_name.items() if known == address and at >= oldest]
        return names[0] if len(names) == 1 else None
