"""Observes machines: which are silent, and which fields are beyond a limit.

A machine is heard if its newest sample has changed since the last evaluation, or if any sample has arrived since then:
after the machine's clock is set back, its newest sample does not change for a while. So neither its clock nor a pause
of the service makes a machine silent.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from math import inf

import msgspec
from msgspec.structs import replace

from smartmob.alerts.conditions import TEMPERATURE, Silent, Threshold
from smartmob.alerts.model import Rule
from smartmob.alerts.observation import Observation, Observations
from smartmob.alerts.sources import HostsSource
from smartmob.alerts.state_machine import SubjectHealth
from smartmob.hosts.fields import FIELDS, Unit
from smartmob.hosts.model import Host, Latest

FRESH_SECONDS = 120.0
"""Seconds for which a field counts; then it is unknown, so a silent machine neither fires nor resolves an alert."""
_SETTLING_SECONDS = 10.0
"""Added to the time since the last evaluation: a sample may be committed some seconds after it arrived."""
_PAGE_HOSTS = 1_000  # machines that one query reads
_UNITS = {field.name: field.unit for field in FIELDS}


class _Seen(msgspec.Struct, frozen=True):
    """The newest sample of a machine: its time, and when it was first seen (`new_at`).

    `heard_at` is when the machine was heard last, `heard` whether that was since the first evaluation.
    """

    latest: datetime | None
    new_at: float
    heard_at: float
    heard: bool


class HostObserver:
    """Observes all machines. `observe` reads them once, then each rule is answered from memory."""

    def __init__(self, source: HostsSource) -> None:
        self._source = source
        self._hosts: dict[str, Host] = {}
        self._seen: dict[str, _Seen] = {}
        self._now = 0.0

    async def read(self, now: float, silences: Iterable[float] = ()) -> None:
        """Read the newest samples of all machines at `now`, in seconds of a steady clock. Raises Unavailable.

        `silences` are the times in seconds after which a machine counts as silent.
        """
        hosts: dict[str, Host] = {}
        after = ""
        while page := await self._source.hosts(after, _PAGE_HOSTS):
            hosts |= {host.name: host for host in page}
            after = page[-1].name
        seen = {name: self._looked(self._seen.get(name), host, now) for name, host in hosts.items()}
        least = min(silences, default=inf)
        quiet = [name for name, each in seen.items() if each.latest is not None and now - each.heard_at >= least]
        if quiet:
            for name in await self._source.heard_within(quiet, now - self._now + _SETTLING_SECONDS):
                seen[name] = replace(seen[name], heard_at=now, heard=True)
        self._seen, self._hosts, self._now = seen, hosts, now

    def interrupted(self) -> None:
        """Restart counting the silence of all machines: for a while none of their samples could be stored."""
        self._seen = {
            name: replace(seen, new_at=self._now, heard_at=self._now, heard=False) for name, seen in self._seen.items()
        }

    @staticmethod
    def _looked(before: _Seen | None, host: Host, now: float) -> _Seen:
        latest = None if host.latest is None else host.latest.time
        if before is None:
            return _Seen(latest, now, now, heard=False)
        return before if before.latest == latest else _Seen(latest, now, now, heard=True)

    def silent(self, rule: Rule, condition: Silent) -> Observations:
        """Return which machines of a rule are silent. A machine that has never sent a sample does not count."""
        found = tuple(self._silence(host, condition) for host in self._watched(rule))
        return Observations(found, complete=True, gone=_GONE)

    def fields(self, rule: Rule, condition: Threshold) -> Observations:
        """Return which machines of a rule have a field beyond the limit."""
        found = tuple(self._field(host, condition) for host in self._watched(rule))
        return Observations(found, complete=True, gone=_GONE)

    def _watched(self, rule: Rule) -> list[Host]:
        return [host for host in self._hosts.values() if rule.matches(host.name)]

    def _silence(self, host: Host, condition: Silent) -> Observation:
        seen = self._seen[host.name]
        seconds = self._now - seen.heard_at
        if host.latest is None or (seconds < condition.seconds and not seen.heard):
            return Observation(host.name, SubjectHealth.UNKNOWN)
        if seconds < condition.seconds:
            return Observation(host.name, SubjectHealth.GOOD, f"{host.name} sends samples")
        last = host.latest.time.isoformat(timespec="seconds").replace("+00:00", "Z")
        summary = f"{host.name} has sent nothing for {duration(condition.seconds)}; its last sample is from {last}"
        return Observation(host.name, SubjectHealth.BAD, summary, seconds)

    def _field(self, host: Host, condition: Threshold) -> Observation:
        seen = self._seen[host.name]
        value = None if host.latest is None else field_of(host.latest, condition.field)
        if value is None or not seen.heard or self._now - seen.new_at > FRESH_SECONDS:
            return Observation(host.name, SubjectHealth.UNKNOWN)
        health = (
            SubjectHealth.BAD
            if condition.is_bad(value)
            else SubjectHealth.GOOD
            if condition.is_good(value)
            else SubjectHealth.BETWEEN
        )
        summary = f"{host.name}: {condition.field} is {amount(condition.field, value)}"
        limit = f"{condition.operator} {amount(condition.field, condition.limit)}"
        return Observation(host.name, health, f"{summary} ({limit})", value)


_GONE = "the machine was removed, or no longer matches the rule"


def field_of(latest: Latest, field: str) -> float | None:
    """Return a field of a sample, or None if it is not known."""
    if field == TEMPERATURE or field.startswith(f"{TEMPERATURE}."):
        sensors = latest.temperatures or {}
        return max(sensors.values(), default=None) if field == TEMPERATURE else sensors.get(field.partition(".")[2])
    value: float | None = getattr(latest, field)
    return value


def amount(field: str, value: float) -> str:
    """Return a value of a field for people, with its unit."""
    unit = _UNITS.get(field, Unit.NONE)
    if unit is Unit.NONE:
        return f"{value:g} °C" if field.startswith(TEMPERATURE) else f"{value:g}"
    return f"{value:,.0f} {unit.value}" if unit is not Unit.PERCENT else f"{value:.1f} %"


def duration(seconds: float) -> str:
    """Return a duration for people, as the grammar of conditions writes it."""
    for unit, size in (("d", 86_400.0), ("h", 3600.0), ("m", 60.0)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"
