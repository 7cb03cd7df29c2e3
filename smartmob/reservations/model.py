"""The data of the feature `reservations`: machines that one client holds for a time. No I/O."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

import msgspec

LONGEST_SECONDS = 7 * 86_400
"""The longest reservation; a forgotten one blocks a machine for a week at most."""

_ONE_LINE = r"^[^\x00-\x1f\x7f-\x9f]*$(?!\n)"  # without control characters, which could act on a terminal


class NewReservation(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A machine to reserve from now on: the node of this name, or the machine of the service if it is empty.

    `holder` is the name by which people know the client.
    """

    node: Annotated[str, msgspec.Meta(max_length=64)] = ""
    seconds: Annotated[float, msgspec.Meta(ge=1, le=LONGEST_SECONDS)]
    holder: Annotated[str, msgspec.Meta(min_length=1, max_length=200, pattern=_ONE_LINE)]
    reason: Annotated[str, msgspec.Meta(max_length=500, pattern=_ONE_LINE)] = ""


class ReservationEntry(msgspec.Struct, frozen=True, kw_only=True):
    """A reservation in a list; `mine` is whether the client holds it. An empty `node` is the machine of the service."""

    node: str
    token: str | None
    holder: str
    reason: str
    since: datetime
    until: datetime
    mine: bool
