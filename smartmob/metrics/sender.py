"""The sender of a session: the address from which it came, and the machine that reports from this address. No I/O."""

from __future__ import annotations

from typing import Protocol

import msgspec

LIVE_SECONDS = 600.0
"""The longest delay in seconds at which a session counts as sent by the machine that measured.

The plugin sends a session as it begins; ten minutes allow for a clock that is wrong. Files are imported from anywhere.
"""


class Sender(msgspec.Struct, frozen=True):
    """The address of a client. `is_local` is whether it runs on the machine of the service."""

    address: str
    is_local: bool


class HostFinder(Protocol):
    """A source of the addresses of machines."""

    def host_at(self, address: str, *, is_local: bool) -> str | None:
        """Return the name of the only machine that reports from an address, or None."""


def host_of(sender: Sender | None, finder: HostFinder | None, time: float, now: float) -> str | None:
    """Return the machine of a session that began at `time` and arrives at `now` (seconds since 1970), or None."""
    if sender is None or finder is None or abs(time - now) > LIVE_SECONDS:
        return None
    return finder.host_at(sender.address, is_local=sender.is_local)
