"""Observes what ends: load tests and jobs. Each is seen once, and its outcome is that of its name until the next one.

After a start of the service, only the newest of each name counts, so that old failures cause no alert again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable
from datetime import datetime, timedelta

import msgspec
from msgspec.structs import replace

from smartmob.alerts.conditions import JobFailed, LoadTestFailed
from smartmob.alerts.model import Rule, one_line
from smartmob.alerts.observation import Observation, Observations
from smartmob.alerts.sources import JobsSource, LoadTestsSource
from smartmob.alerts.state_machine import SubjectHealth
from smartmob.commands import model as jobs
from smartmob.counts import counted
from smartmob.turrets.model import ABORTED, ENDED, Run

FIRST_SPAN = timedelta(days=1)
"""The time before the first evaluation from which the newest outcomes are read."""
MAX_OUTCOMES = 1_000  # outcomes read by one evaluation
_OVERLAP = timedelta(minutes=5)
"""The part of the previous span that is read again, for outcomes that were stored late."""
_DECISION = timedelta(minutes=2)
"""The longest wait for the verdict of conditions after an end; it arrives within a second unless that fails."""
_MAX_KNOWN_OUTCOMES = 10_000  # ids that are remembered, so that none is seen twice
_COMMAND_CHARACTERS = 200


class ObservedOutcome(msgspec.Struct, frozen=True):
    """The end of something named `subject`; `id` identifies it, `failed` is None if a person stopped it.

    `share` is the share of errors, 0 where it is not known.
    """

    id: str
    subject: str
    ended_at: datetime
    failed: bool | None
    summary: str
    share: float = 0.0


Read = Callable[[datetime, datetime], Awaitable[Iterable[ObservedOutcome]]]
"""Returns the outcomes of a span."""

Judge = Callable[[ObservedOutcome, datetime], Awaitable[ObservedOutcome | None]]
"""Returns an outcome with its final verdict at a time, or None while that is not decided."""


class OutcomeObserver:
    """Observes the outcomes that `read` returns. `observe` reads them; `commit` says that all rules have seen them.

    `judge` is asked for the final verdict of each outcome; one that is not decided is seen by a later evaluation.
    """

    def __init__(self, read: Read, judge: Judge | None = None) -> None:
        self._read = read
        self._judge = judge
        self._known: OrderedDict[str, None] = OrderedDict()
        self._since: datetime | None = None
        self._found: list[ObservedOutcome] = []
        self._at: datetime | None = None

    async def read(self, at: datetime) -> None:
        """Read what has ended until `at`. Raises Unavailable."""
        start = at - FIRST_SPAN if self._since is None else self._since - _OVERLAP
        found = sorted(await self._read(start, at + _OVERLAP), key=lambda outcome: outcome.ended_at)
        if self._since is None:
            newest = {outcome.subject: outcome for outcome in found}
            self._remember(outcome for outcome in found if newest[outcome.subject] is not outcome)
            found = list(newest.values())
        else:
            found = [outcome for outcome in found if outcome.id not in self._known]
        if self._judge is not None:
            judged = [await self._judge(outcome, at) for outcome in found]
            found = [outcome for outcome in judged if outcome is not None]
        self._found, self._at = found, at

    def commit(self) -> None:
        """Forget what was read: all rules have seen it."""
        self._remember(self._found)
        self._found, self._since = [], self._at

    def observe(self, rule: Rule, condition: LoadTestFailed | JobFailed) -> Observations:
        """Return the outcomes of a rule; one from the time before the rule is no failure."""
        found = [outcome for outcome in self._found if rule.matches(outcome.subject)]
        return Observations(tuple(_observation(outcome, rule, condition) for outcome in found))

    def _remember(self, outcomes: Iterable[ObservedOutcome]) -> None:
        self._known |= dict.fromkeys((outcome.id for outcome in outcomes), None)
        while len(self._known) > _MAX_KNOWN_OUTCOMES:
            self._known.popitem(last=False)


def _observation(outcome: ObservedOutcome, rule: Rule, condition: LoadTestFailed | JobFailed) -> Observation:
    failed = outcome.failed
    limit = condition.errors if isinstance(condition, LoadTestFailed) else None
    if limit is not None:
        failed = outcome.share > limit
    if failed is None or (failed and outcome.ended_at < rule.made_at):
        return Observation(outcome.subject, SubjectHealth.UNKNOWN)
    health = SubjectHealth.BAD if failed else SubjectHealth.GOOD
    value = outcome.share if limit is not None else None
    return Observation(outcome.subject, health, outcome.summary, value, outcome.id if failed else "")


def load_tests(source: LoadTestsSource) -> Read:
    """Return a function that reads the load tests that have ended."""

    async def read(start: datetime, end: datetime) -> list[ObservedOutcome]:
        runs = await source.concluded_between(start, end, MAX_OUTCOMES)
        # An imported run counts as new at its import, however long ago it was fired.
        ends = [(run, run.ended_at if run.source is None else run.created_at) for run in runs if run.state in ENDED]
        return [_load_test(run, at) for run, at in ends if at is not None]

    return read


def by_conditions(source: LoadTestsSource) -> Judge:
    """Return a function that fails load tests which met a condition of their project, also one that was stopped."""

    async def judge(outcome: ObservedOutcome, at: datetime) -> ObservedOutcome | None:
        met = await source.failed_conditions(outcome.id)
        if met is None:
            return outcome if at - outcome.ended_at > _DECISION else None
        if not met:
            return outcome
        further = f" and {len(met) - 1} more" if len(met) > 1 else ""
        return replace(outcome, failed=True, summary=f"{outcome.summary}; it met {met[0]}{further}")

    return judge


def _has_failed(run: Run) -> bool | None:
    """Return whether a load test failed, or was stopped by a condition of its project; None if a person stopped it."""
    if run.state == "stopped":
        return True if run.reason is not None and run.reason.startswith(ABORTED) else None
    return run.state == "failed"


def _load_test(run: Run, ended_at: datetime) -> ObservedOutcome:
    ending = f"{run.state} ({run.reason})" if run.reason else run.state
    return ObservedOutcome(
        id=run.id,
        subject=one_line(run.name),
        ended_at=ended_at,
        failed=_has_failed(run),
        summary=f"the load test {run.name} {ending}: {counted(run.transactions, 'transaction')}, "
        f"{counted(run.errors, 'error')}",
        share=run.errors / run.transactions if run.transactions else 0.0,
    )


def ended_jobs(source: JobsSource) -> Read:
    """Return a function that reads the jobs that have ended."""

    async def read(start: datetime, end: datetime) -> list[ObservedOutcome]:
        found = await source.between(start, end, MAX_OUTCOMES)
        return [_of_job(job, job.ended_at) for job in found if job.state != jobs.RUNNING and job.ended_at is not None]

    return read


def _of_job(job: jobs.Job, ended_at: datetime) -> ObservedOutcome:
    failed = None if job.state == jobs.STOPPED else job.state != jobs.EXITED or job.exit_code != 0
    status = f", exit code {job.exit_code}" if job.exit_code is not None else ""
    error = f": {job.error}" if job.error else ""
    command = one_line(job.command_line, _COMMAND_CHARACTERS)
    return ObservedOutcome(
        str(job.id), command, ended_at, failed, f"job {job.id} ({command}) {job.state}{status}{error}"
    )
