"""The refused logins that are recorded: few of each address and a bounded number of all, so no flood fills the log."""

from __future__ import annotations

from collections import OrderedDict

WINDOW_SECONDS = 3_600.0
"""The time in which the refused logins of an address are counted together."""
MOST_RECORDED = 100
"""The most refused logins of all addresses that are recorded within `WINDOW_SECONDS`."""
_MOST_ADDRESSES = 4_096
"""Addresses that are counted; the one that began first is forgotten first."""


class RefusedLogins:
    """Counts refused logins by address. `now` is a clock in seconds."""

    def __init__(self) -> None:
        self._counts: OrderedDict[str, tuple[float, int]] = OrderedDict()
        self._began = float("-inf")
        self._recorded = 0

    def count(self, address: str, now: float) -> int | None:
        """Count a refused login; return the count of the address if it is to be recorded (1, 10, 100, …), else None."""
        began, before = self._counts.get(address, (now, 0))
        if now - began >= WINDOW_SECONDS:
            began, before = now, 0
            del self._counts[address]
        self._counts[address] = began, before + 1
        if len(self._counts) > _MOST_ADDRESSES:
            self._counts.popitem(last=False)
        if now - self._began >= WINDOW_SECONDS:
            self._began, self._recorded = now, 0
        if str(before + 1).strip("0") != "1" or self._recorded >= MOST_RECORDED:
            return None
        self._recorded += 1
        return before + 1
