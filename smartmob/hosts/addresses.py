"""The addresses from which machines report, so that sessions from the same address can be linked to them. No I/O."""

from __future__ import annotations

from collections.abc import Callable

_FRESH_SECONDS = 24 * 3600.0  # after which another machine may have got an address
_AGAIN_SECONDS = 600.0  # after which the same address is reported again
_MAX_MACHINES = 100_000  # machines whose addresses are kept: some 20 MB


class HostAddresses:
    """The address of each machine that reported lately. `steady` is a clock in seconds.

    `on_change` is called with the name and the address of a machine that reports from another address, and again after
    some time; the address is None if it is no longer known.
    """

    def __init__(
        self,
        steady: Callable[[], float],
        own_name: Callable[[], str],
        on_change: Callable[[str, str | None], object] = lambda _name, _address: None,
    ) -> None:
        self._steady = steady
        self._own_name = own_name
        self._by_name: dict[str, tuple[str, float, float]] = {}
        """For each machine its address, when it was last seen, and when it last was news."""
        self._on_change = on_change

    def seen(self, name: str, address: str | None) -> None:
        """Keep the address from which a machine reports; None means that it is not known."""
        if self.keep(name, address):
            self._on_change(name, address)

    def keep(self, name: str, address: str | None) -> bool:
        """Keep an address, as `seen`; return whether other processes of the service should be notified."""
        if address is None:
            return self._by_name.pop(name, None) is not None
        before = self._by_name.get(name)
        if name not in self._by_name and len(self._by_name) >= _MAX_MACHINES:
            del self._by_name[next(iter(self._by_name))]
        now = self._steady()
        is_new = before is None or before[0] != address or now - before[2] >= _AGAIN_SECONDS
        self._by_name[name] = (address, now, now if is_new or before is None else before[2])
        return is_new

    def host_at(self, address: str, *, is_local: bool) -> str | None:
        """Return the name of the only machine that reports from an address, or None if none or several do.

        `is_local` means that the address is one of the machine of the service.
        """
        if is_local:
            return self._own_name()
        oldest = self._steady() - _FRESH_SECONDS
        names = [name for name, (known, at, _) in self._by_name.items() if known == address and at >= oldest]
        return names[0] if len(names) == 1 else None
