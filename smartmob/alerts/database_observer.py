"""Observes times in which the database could not be used. They become known when they are over. No I/O."""

from __future__ import annotations

from datetime import datetime

import msgspec

from smartmob.alerts.conditions import DatabaseLost
from smartmob.alerts.model import Rule
from smartmob.alerts.observation import Observation, Observations
from smartmob.alerts.state_machine import SubjectHealth

BACK = "the database is back"
"""The reason of an alert about a lost database; receivers are notified once, because it is over by then."""


class _Outage(msgspec.Struct, frozen=True):
    """A time in which the database could not be used."""

    since: datetime
    seconds: float


class DatabaseObserver:
    """Observes the database of the service, whose machine is named `service`."""

    def __init__(self, service: str) -> None:
        self._service = service
        self._outage: _Outage | None = None

    def lost(self, since: datetime, seconds: float) -> None:
        """Observe that the database could not be used for some `seconds` until now."""
        self._outage = _Outage(since, seconds)

    def commit(self) -> None:
        """Forget the outage: all rules have seen it."""
        self._outage = None

    def observe(self, rule: Rule, condition: DatabaseLost) -> Observations:
        """Return the outage that has just ended, if it was long enough for the rule."""
        outage = self._outage
        if outage is None or outage.seconds < condition.seconds or not rule.matches(self._service):
            return Observations((), complete=True, gone=BACK)
        start = outage.since.isoformat(timespec="seconds").replace("+00:00", "Z")
        summary = f"{self._service}: the database was unavailable for {outage.seconds:.0f} s, starting at {start}"
        cause = f"{self._service} {outage.since.isoformat()}"
        return Observations(
            (Observation(self._service, SubjectHealth.BAD, summary, outage.seconds, cause),), True, BACK
        )
