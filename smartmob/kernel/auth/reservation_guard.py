"""The reservations that are in force: a machine that one client has reserved gets no new work of others. No I/O.

The guard is filled by the feature `reservations`; on a node it is empty, since the service refuses requests to it. A
client is the holder by the token that reserved, or by the reservation's id in the header `X-Smartmob-Reservation`; the
service's own token and a service without tokens stand for several people, so there the id is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from contextvars import ContextVar
from datetime import UTC, datetime
from uuid import UUID

import msgspec
from aiohttp import web

from smartmob.errors import Conflict
from smartmob.kernel.auth.authenticator import PRINCIPAL
from smartmob.kernel.http.routing import Route
from smartmob.kernel.runtime import clock

HEADER = "X-Smartmob-Reservation"

RESERVATION: ContextVar[str] = ContextVar("reservation", default="")
"""The id of a reservation that the client of the present request shows, or an empty text."""

OWN = ""
"""The name of the machine of this service among the reserved machines; nodes have names."""

_PARAMETER = re.compile(r"\\\{\w+\\\}")  # in an escaped path

_HARMLESS_CALLS = frozenset(
    (
        *("attach", "cd", "cwd", "end_input", "env", "find_files", "get_time", "is_alive", "jobs", "ls", "os_info"),
        *("ps", "resize", "send_input", "user_name", "kill", "signal", "rdfile", "get"),
    )
)
"""Commands that only read, or that belong to a running job: other clients may still end their own jobs."""


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """A reserved machine: a node, or `OWN`. `token` is the name of the token that reserved it, or None.

    `holder` is the name that the client gave. It is in force until before `until`. The holder uses the machine by this
    `id`, so only the answer to the holder contains the id.
    """

    id: UUID
    node: str
    token: str | None
    holder: str
    reason: str
    since: datetime
    until: datetime

    @property
    def is_mine(self) -> bool:
        """Return whether the client of the present request holds the reservation."""
        principal = PRINCIPAL.get()
        by_token = principal is not None and principal.token is not None and principal.token == self.token
        return by_token or RESERVATION.get() == str(self.id)

    def __str__(self) -> str:
        machine = f"the machine {self.node}" if self.node else "the machine of this service"
        reason = f" ({self.reason})" if self.reason else ""
        return (
            f"{machine} is reserved by {self.holder} until {self.until.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC{reason}"
        )


class ReservationGuard:
    """Refuses new work for machines that others have reserved."""

    def __init__(self, routes: Mapping[web.AbstractRoute, Route] | None = None) -> None:
        """`routes` maps each route of aiohttp to our own route; it may be filled later."""
        self._by_node: dict[str, Reservation] = {}
        self._routes = {} if routes is None else routes
        self._starting: list[tuple[str, re.Pattern[str]]] = []

    def replace(self, reservations: Iterable[Reservation]) -> None:
        """Replace all reservations by these."""
        self._by_node = {each.node: each for each in reservations}

    def find(self, node: str = OWN) -> Reservation | None:
        """Return the reservation that is in force on a machine, or None."""
        found = self._by_node.get(node)
        return found if found is not None and clock.now() < found.until else None

    def check(self, node: str = OWN) -> None:
        """Raise Conflict if another client has reserved the machine."""
        found = self.find(node)
        if found is not None and not found.is_mine:
            raise Conflict(f"{found}; `smartmob reserve` waits for it with --wait")

    def check_call(self, name: str, node: str = OWN) -> None:
        """Raise Conflict for a call that starts work, if another client has reserved the machine."""
        if name not in _HARMLESS_CALLS:
            self.check(node)

    def starts_work(self, method: str, path: str) -> bool:
        """Return whether a request to the service of a node starts work; nodes have the routes of this service."""
        if not self._starting:
            for router, route in self._routes.items():
                if route.starts_work and router.resource is not None:
                    pattern = _PARAMETER.sub("[^/]+", re.escape(router.resource.canonical))
                    self._starting.append((router.method, re.compile(pattern)))
        return any(method == one and pattern.fullmatch(path) for one, pattern in self._starting)
