"""Observes the subjects of all kinds of conditions."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from typing import assert_never

from smartmob.alerts.conditions import (
    SERVICE_FREE,
    Condition,
    DatabaseLost,
    JobFailed,
    LoadTestFailed,
    ProcessCrashing,
    Regression,
    Silent,
    Threshold,
)
from smartmob.alerts.database_observer import DatabaseObserver
from smartmob.alerts.host_observer import HostObserver
from smartmob.alerts.model import Rule
from smartmob.alerts.observation import Observation, Observations
from smartmob.alerts.outcome_observer import OutcomeObserver, by_conditions, ended_jobs, load_tests
from smartmob.alerts.process_observer import ProcessObserver
from smartmob.alerts.regression_observer import RegressionObserver
from smartmob.alerts.sources import Sources
from smartmob.alerts.state_machine import SubjectHealth
from smartmob.kernel.runtime import clock, disk


class Observers:
    """The observers of all features. `observe` reads what the conditions need; `observe` answers one rule from it.

    `service` is the name of the service's machine, `folder` that of its data, `settle` the seconds without a measure
    after which a test run is judged.
    """

    def __init__(self, sources: Sources, service: str, folder: Path, settle: float) -> None:
        self.regressions = RegressionObserver(sources.metrics.runs, sources.metrics.comparisons, settle)
        self._hosts = HostObserver(sources.hosts.queries)
        self._database = DatabaseObserver(service)
        self._processes = ProcessObserver(sources.processes)
        self._load_tests = OutcomeObserver(load_tests(sources.turrets.queries), by_conditions(sources.turrets.queries))
        self._jobs = OutcomeObserver(ended_jobs(sources.commands.jobs))
        self._service = service
        self._folder = folder

    def session_arrived(self, session_h: str) -> None:
        """Watch the run of a session of tests."""
        self.regressions.session_arrived(session_h, clock.steady())

    def measures_arrived(self) -> None:
        """Judge test runs once no more measures arrive."""
        self.regressions.measures_arrived(clock.steady())

    async def read(self, now: float, at: datetime, conditions: Sequence[Condition]) -> None:
        """Read what the conditions need, at `now` of a steady clock, which is the time `at`. Raises Unavailable."""
        kinds = {type(condition) for condition in conditions}
        if kinds & {Silent, Threshold}:
            silences = [condition.seconds for condition in conditions if isinstance(condition, Silent)]
            await self._hosts.read(now, silences)
        if LoadTestFailed in kinds:
            await self._load_tests.read(at)
        if JobFailed in kinds:
            await self._jobs.read(at)
        if Regression in kinds:
            await self.regressions.read(now, at)

    def database_lost(self, since: datetime, seconds: float) -> None:
        """Observe that the database could not be used for some `seconds` until now."""
        self._database.lost(since, seconds)

    def interrupted(self) -> None:
        """Restart counting silence: for a while no samples could be stored or seen."""
        self._hosts.interrupted()

    def commit(self, now: float) -> None:
        """Forget the events that all rules have seen; without this call they are seen again at the next evaluation."""
        self._database.commit()
        self._load_tests.commit()
        self._jobs.commit()
        self.regressions.commit(now)

    def observe(self, rule: Rule, condition: Condition) -> Observations:
        """Return the observations of the subjects of a rule."""
        match condition:
            case Silent():
                return self._hosts.silent(rule, condition)
            case Threshold(field=field) if field == SERVICE_FREE:
                return self._free_space(rule, condition)
            case Threshold():
                return self._hosts.fields(rule, condition)
            case LoadTestFailed():
                return self._load_tests.observe(rule, condition)
            case JobFailed():
                return self._jobs.observe(rule, condition)
            case ProcessCrashing():
                return self._processes.observe(rule)
            case DatabaseLost():
                return self._database.observe(rule, condition)
            case Regression():
                return self.regressions.observe(rule, condition)
            case _:
                assert_never(condition)

    def _free_space(self, rule: Rule, condition: Threshold) -> Observations:
        if not rule.matches(self._service):
            return Observations(())
        free = float(disk.free_bytes(self._folder))
        health = (
            SubjectHealth.BAD
            if condition.is_bad(free)
            else SubjectHealth.GOOD
            if condition.is_good(free)
            else SubjectHealth.BETWEEN
        )
        summary = f"{self._service}: {free / 10**9:.1f} GB are free on the disk of the service's data"
        return Observations((Observation(self._service, health, summary, free),))
