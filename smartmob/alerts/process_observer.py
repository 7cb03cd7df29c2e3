"""Observes processes: which keep ending, and which cannot be started."""

from __future__ import annotations

from smartmob.alerts.model import Rule
from smartmob.alerts.observation import Observation, Observations
from smartmob.alerts.sources import ProcessesSource
from smartmob.alerts.state_machine import SubjectHealth
from smartmob.processes.model import BACKOFF, FAILURES, RUNNING, STOPPED, ProcessSnapshot

HEALTHY_SECONDS = 60.0
"""The uptime from which a process counts as recovered; one that ends every minute stays an alert."""


class ProcessObserver:
    """Observes all processes of this service."""

    def __init__(self, source: ProcessesSource) -> None:
        self._source = source

    def observe(self, rule: Rule) -> Observations:
        """Return which processes of a rule keep ending or cannot be started."""
        found = tuple(
            _observation(process) for process in self._source.processes() if rule.matches(process.definition.slug)
        )
        return Observations(found, complete=True, gone="the program was deleted, or no longer matches the rule")


def _observation(process: ProcessSnapshot) -> Observation:
    slug = process.definition.slug
    if process.state == BACKOFF:
        status = "" if process.last_status is None else f", last with {_status(process.last_status)}"
        return Observation(slug, SubjectHealth.BAD, f"the program {slug} keeps ending{status}", float(process.restarts))
    if process.state in FAILURES:
        return Observation(
            slug, SubjectHealth.BAD, f"the program {slug} cannot be started: {process.state} {process.detail}"
        )
    long_enough = process.state == RUNNING and (process.uptime or 0.0) >= HEALTHY_SECONDS
    good = long_enough or process.state == STOPPED
    return Observation(slug, SubjectHealth.GOOD if good else SubjectHealth.UNKNOWN)


def _status(status: int) -> str:
    return f"exit code {status}" if status >= 0 else f"signal {-status}"
