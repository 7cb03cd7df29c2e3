"""Observes the subjects of all kinds of conditions."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from smartmob.alerts.conditions import SERVICE_FREE, Condition, Silent, Threshold
from smartmob.alerts.host_observer import HostObserver
from smartmob.alerts.model import Rule
from smartmob.alerts.observation import Observation, Observations
from smartmob.alerts.state_machine import Health
from smartmob.kernel.runtime import disk


class Observers:
    """The observers of all features. `look` reads what the conditions need; `observe` answers one rule from it."""

    def __init__(self, hosts: HostObserver, service: str, folder: Path) -> None:
        self._hosts = hosts
        self._service = service
        self._folder = folder

    async def look(self, now: float, conditions: Sequence[Condition]) -> None:
        """Read what the conditions need, at `now` of a steady clock. Raises Unavailable."""
        if any(isinstance(condition, Silent | Threshold) for condition in conditions):
            await self._hosts.look(now)

    def observe(self, rule: Rule, condition: Condition) -> Observations:
        """Return what was seen of the subjects of a rule."""
        match condition:
            case Silent():
                return self._hosts.silent(rule, condition)
            case Threshold(figure=figure) if figure == SERVICE_FREE:
                return self._free_space(rule, condition)
            case Threshold():
                return self._hosts.figures(rule, condition)
        return Observations(())

    def _free_space(self, rule: Rule, condition: Threshold) -> Observations:
        if not rule.matches(self._service):
            return Observations(())
        free = float(disk.free_bytes(self._folder))
        health = Health.BAD if condition.is_bad(free) else Health.GOOD if condition.is_good(free) else Health.BETWEEN
        summary = f"{self._service}: {free / 10**9:.1f} GB are free on the disk of the service's data"
        return Observations((Observation(self._service, health, summary, free),))
