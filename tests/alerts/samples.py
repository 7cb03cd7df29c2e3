"""Rules, alerts and messages for the tests."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from smartmob.alerts import payloads
from smartmob.alerts.model import Alert, Message, Receiver, Rule
from smartmob.alerts.store import NewNotification
from smartmob.hosts.fields import NAMES
from smartmob.hosts.model import Host, Latest
from smartmob.kernel.runtime import ids

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def rule(name: str = "busy", condition: str = "cpu > 90", **changes: Any) -> Rule:
    """Return a rule."""
    return Rule(**({"name": name, "condition": condition, "source": "stored", "made_at": NOW} | changes))


def receiver(name: str = "ops", address: str = "http://127.0.0.1:9/", **changes: Any) -> Receiver:
    """Return a receiver."""
    values = {"name": name, "address": address, "format": "json", "secret": "", "source": "stored", "made_at": NOW}
    return Receiver(**(values | changes))


def alert(subject: str = "rack7", **changes: Any) -> Alert:
    """Return an alert that fires."""
    values = {
        "id": ids.uuid7(),
        "rule": "busy",
        "subject": subject,
        "cause": "",
        "condition": "cpu > 90",
        "severity": "warning",
        "summary": f"{subject}: cpu is 97.0 %",
        "value": 97.0,
        "fired_at": NOW,
        "notified_at": NOW,
        "resolved_at": None,
        "reason": "",
    }
    return Alert(**(values | changes))


def notification(of: Alert, receiver: str = "ops", kind: Any = "firing", at: datetime = NOW) -> NewNotification:
    """Return a notification that is due when it is made."""
    return NewNotification(receiver, kind, payloads.document(of, kind), at, at)


def message(*alerts: Alert, kind: Any = "firing") -> Message:
    """Return a message that tells of alerts."""
    documents = [payloads.document(each, kind) for each in alerts or (alert(),)]
    ident = UUID("0193579e-0000-7000-8000-000000000001")
    return Message(id=ident, receiver="ops", attempts=1, made_at=NOW, alerts=documents)


def host(name: str, at: float | None = 0.0, **values: Any) -> Host:
    """Return a machine whose newest sample is `at` seconds after NOW; it has none if that is None."""
    latest = None
    if at is not None:
        time = datetime.fromtimestamp(NOW.timestamp() + at, UTC)
        fields = dict.fromkeys(NAMES, None) | {"cores": None, "temperatures": None} | values
        latest = Latest(time=time, **fields)
    return Host(name=name, own=False, registered_at=NOW, latest=latest, clock=None)


class Watched:
    """The services that are observed: machines, and nothing else."""

    def __init__(self, machines: Machines | None = None) -> None:
        self.hosts = machines or Machines()
        self.processes = self.turrets = self.commands = self.metrics = Nothing()


class Nothing:
    """Services without processes, runs and jobs."""

    @property
    def queries(self) -> Nothing:
        """Return a list of load tests that is empty."""
        return self

    @property
    def jobs(self) -> Nothing:
        """Return a list of jobs that is empty."""
        return self

    @property
    def runs(self) -> Any:
        """Return a finder that finds no test run."""
        return self

    @property
    def comparisons(self) -> Any:
        """Return a comparison that is never asked."""
        return self

    def processes(self) -> list[Any]:
        """Return no process."""
        return []

    async def between(self, *_: Any) -> list[Any]:
        """Return no run and no job."""
        return []

    async def concluded_between(self, *_: Any) -> list[Any]:
        """Return no load test."""
        return []

    async def failed_conditions(self, _: str) -> list[str] | None:
        """Return no condition."""
        return []


class Machines:
    """The list of machines that an observer reads; a test changes `all`."""

    def __init__(self, *machines: Host) -> None:
        self.all = list(machines)
        self.heard: set[str] = set()

    @property
    def queries(self) -> Machines:
        """Return the list of machines."""
        return self

    async def heard_within(self, names: Sequence[str], _: float) -> set[str]:
        """Return the machines of which a test says that they were heard."""
        return self.heard & set(names)

    async def hosts(self, after: str, limit: int) -> list[Host]:
        """Return a page of the machines."""
        return sorted((each for each in self.all if each.name > after), key=lambda each: each.name)[:limit]
