"""The reservation that the clients of this program show to services, so that its holder goes on to use the machine."""

from __future__ import annotations

import msgspec

HEADER = "X-Smartmob-Reservation"


class Shown(msgspec.Struct):
    """The id of the reservation, or an empty text."""

    id: str = ""

    def headers(self) -> dict[str, str]:
        """Return the header of a request that shows it."""
        return {HEADER: self.id} if self.id else {}


SHOWN = Shown()
"""The reservation of this program; the command line takes it from SMARTMOB_RESERVATION."""
