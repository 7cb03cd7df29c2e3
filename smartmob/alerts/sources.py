"""The methods of other features that this feature calls. The composition root passes the services that have them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from smartmob.commands.model import Job
from smartmob.hosts.model import Host
from smartmob.metrics.model import Run as TestRun
from smartmob.metrics.verdict.verdicts import Comparison
from smartmob.processes.model import ProcessSnapshot
from smartmob.turrets.model import Run as LoadTest


class HostsSource(Protocol):
    """Lists machines with their newest samples."""

    async def hosts(self, after: str, limit: int) -> list[Host]:
        """Return up to `limit` machines in the order of their names, beginning after the name `after`."""

    async def heard_within(self, names: Sequence[str], seconds: float) -> set[str]:
        """Return those of the machines whose samples were stored within the last `seconds`."""


class MachinesSource(Protocol):
    """Has machines."""

    @property
    def queries(self) -> HostsSource:
        """Return the list of machines."""


class ProcessesSource(Protocol):
    """Lists processes."""

    def processes(self) -> list[ProcessSnapshot]:
        """Return snapshots of all processes."""


class LoadTestsSource(Protocol):
    """Lists load tests."""

    async def concluded_between(self, start: datetime, end: datetime, limit: int) -> list[LoadTest]:
        """Return the newest load tests that were active at any time in a time span, or imported in it, newest first."""

    async def failed_conditions(self, ident: str) -> list[str] | None:
        """Return the conditions of its project that an ended run has met; None while that is not decided."""


class JobsSource(Protocol):
    """Lists jobs."""

    async def between(self, start: datetime, end: datetime, limit: int) -> list[Job]:
        """Return the newest jobs that ran at any time in a time span, newest first."""


class TestRunsSource(Protocol):
    """Finds test runs."""

    async def between(self, start: datetime, end: datetime, limit: int) -> list[TestRun]:
        """Return the newest test runs that were active in a span, newest first."""

    async def run(self, ident: str) -> TestRun:
        """Return the run of a session. Raises NotFound."""


class VerdictsSource(Protocol):
    """Compares test runs with those before them."""

    async def verdict_of_run(self, ident: str) -> Comparison:
        """Return what changed in a run against all runs before it. Raises NotFound."""


class MeasuresSource(Protocol):
    """Finds test runs, and compares them with those before them."""

    @property
    def runs(self) -> TestRunsSource:
        """Return the finder of test runs."""

    @property
    def comparisons(self) -> VerdictsSource:
        """Return the comparison of test runs."""


class TurretsSource(Protocol):
    """Has load tests."""

    @property
    def queries(self) -> LoadTestsSource:
        """Return the list of load tests."""


class CommandsSource(Protocol):
    """Has jobs."""

    @property
    def jobs(self) -> JobsSource:
        """Return the list of jobs."""


class Sources(Protocol):
    """The services that are observed."""

    @property
    def hosts(self) -> MachinesSource:
        """Return the service of machines."""

    @property
    def processes(self) -> ProcessesSource:
        """Return the service of processes."""

    @property
    def turrets(self) -> TurretsSource:
        """Return the service of load tests."""

    @property
    def commands(self) -> CommandsSource:
        """Return the service of commands."""

    @property
    def metrics(self) -> MeasuresSource:
        """Return the service of test runs."""
