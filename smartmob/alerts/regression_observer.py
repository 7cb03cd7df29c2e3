"""Observes test runs: which tests became slower in a run, confirmed by the run before it.

A run is judged when no measure of it has arrived for a while, and again if more measures arrive. A confirmed change
restarts the history of its test, so one change is one regression in one run, and the run after it is judged by the new
level. Old runs that are imported are history, and cause no alert.
"""

from __future__ import annotations

from collections import OrderedDict
from datetime import datetime, timedelta

from smartmob.alerts.conditions import Regression
from smartmob.alerts.model import Rule, one_line
from smartmob.alerts.observation import Observation, Observations
from smartmob.alerts.sources import TestRunsSource, VerdictsSource
from smartmob.alerts.state_machine import SubjectHealth
from smartmob.errors import NotFound
from smartmob.metrics.model import Run
from smartmob.metrics.verdict.verdicts import Comparison, ItemVerdict

RECENT = timedelta(days=1)
"""A run that ended earlier is history."""
MAX_RUNS = 50  # runs judged by one evaluation
MAX_SESSIONS = 1_000
"""The most (newest) sessions that are watched for further measures; each belongs to one judged run."""


class RegressionObserver:
    """Observes the runs of sessions that arrive, `settle` seconds after their last measure."""

    def __init__(self, runs: TestRunsSource, verdicts: VerdictsSource, settle: float) -> None:
        self._runs = runs
        self._verdicts = verdicts
        self._settle = settle
        self._sessions: OrderedDict[str, None] = OrderedDict()
        self._judged: OrderedDict[str, int] = OrderedDict()
        self._changed_at: float | None = None
        self._found: list[tuple[Run, Comparison]] = []
        self._started = False

    def session_arrived(self, session_h: str, now: float) -> None:
        """Watch the run of a session."""
        self._sessions[session_h] = None
        while len(self._sessions) > MAX_SESSIONS:
            self._sessions.popitem(last=False)
        self._changed_at = now

    def measures_arrived(self, now: float) -> None:
        """Judge the watched runs again when no more measures arrive."""
        self._changed_at = now

    async def read(self, now: float, at: datetime) -> None:
        """Judge the runs that have settled; `now` is of a steady clock. Raises Unavailable."""
        if not self._started:
            newest: dict[tuple[str, ...], Run] = {}
            for run in await self._runs.between(at - RECENT, at, MAX_RUNS):
                newest.setdefault(tuple(run.nodes), run)
            await self._judge(list(newest.values()), at)
            return
        if self._changed_at is None or now - self._changed_at < self._settle:
            return
        runs: dict[str, Run] = {}
        for session_h in list(self._sessions):
            try:
                run = await self._runs.run(session_h)
            except NotFound:
                del self._sessions[session_h]  # it was deleted
                continue
            if run.ended_at < at - RECENT:
                del self._sessions[session_h]
            elif run.metrics and self._judged.get(run.id) != run.metrics:
                runs[run.id] = run
        await self._judge(sorted(runs.values(), key=lambda run: run.started_at)[-MAX_RUNS:], at)

    def commit(self, now: float) -> None:
        """Forget the verdicts: all rules have seen them. Later measures are judged at the next evaluation."""
        for run, _ in self._found:
            self._judged[run.id] = run.metrics
            self._judged.move_to_end(run.id)
        while len(self._judged) > MAX_SESSIONS:
            self._judged.popitem(last=False)
        self._found = []
        self._started = True
        if self._changed_at is not None and now - self._changed_at >= self._settle:
            self._changed_at = None

    def observe(self, rule: Rule, condition: Regression) -> Observations:
        """Return the tests of a rule that became slower, or faster again.

        At the start of the service, runs from before the rule are left out; later ones have just arrived.
        """
        found = [
            observation
            for run, verdict in self._found
            if self._started or run.ended_at >= rule.made_at
            for row in verdict.items
            if (observation := _observation(run, verdict, row, condition)) is not None
            and rule.matches(observation.subject)
        ]
        return Observations(tuple(found))

    async def _judge(self, runs: list[Run], at: datetime) -> None:
        found = []
        for run in runs:
            try:
                if run.ended_at >= at - RECENT:
                    found.append((run, await self._verdicts.verdict_of_run(run.id)))
            except NotFound:
                continue  # it was deleted meanwhile
        self._found = found


def _observation(run: Run, verdict: Comparison, row: ItemVerdict, condition: Regression) -> Observation | None:
    """Return the observation of a verdict on a test, or None if it is not new or has low confidence."""
    if row.verdict not in ("regression", "improvement") or row.confidence == "low":
        return None
    nodes = {context.context_h: context.machine_node for context in verdict.contexts}
    node = nodes.get(row.context_h) or ", ".join(run.nodes)
    name = f"{row.path}::{row.variant or row.item}"
    subject = one_line(f"{name} on {node}" if node else name)
    if row.verdict == "improvement":
        return Observation(subject, SubjectHealth.GOOD)
    ratio = row.corrected_ratio
    if ratio is None or ratio < 1.0 + condition.least:
        return None
    commit = f" of {run.scm_ref[:12]}" if run.scm_ref else ""
    summary = f"{subject} has taken {ratio:.2f} times as long as usual since the run{commit} ({row.reason})"
    return Observation(subject, SubjectHealth.BAD, summary, ratio, run.id)
