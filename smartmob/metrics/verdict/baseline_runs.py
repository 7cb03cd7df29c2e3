"""Selects the runs of a comparison in one environment: those of the base, of the head, and around them."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import msgspec

from smartmob.metrics import grouping
from smartmob.metrics.store.histories import EnvironmentSelection, HistoryReader, PastSession
from smartmob.metrics.verdict.change_detection import MIN_HISTORY
from smartmob.metrics.verdict.verdicts import Side

MAX_HISTORY = 30
"""The maximum number of runs in a history: more would slow a comparison down and hardly change a median."""

_MAX_SIDE_RUNS = 10  # of a commit that ran more often, the latest runs are used
_MAX_EARLIER_SESSIONS = 400  # sessions: enough for MAX_HISTORY runs of a dozen parallel sessions
_MAX_NEIGHBOUR_SESSIONS = 50  # sessions among which a run that confirms the head is searched

_SESSIONS_OF_RUN = 12  # parallel sessions of a run; if it has more, fewer runs are read

_END_OF_TIME = (datetime.max.replace(tzinfo=UTC), "")

Position: TypeAlias = tuple[datetime, str]
"""The position of a session in the order of time: when it began, and its hash."""


class BaselineRun(msgspec.Struct, frozen=True):
    """The sessions of one run that measured in one environment, oldest first."""

    sessions: tuple[PastSession, ...]

    @property
    def first(self) -> Position:
        """Return the position of its first session, which identifies the run."""
        return self.sessions[0].position

    @property
    def last(self) -> Position:
        """Return the position of its last session."""
        return self.sessions[-1].position

    @property
    def hashes(self) -> list[str]:
        """Return the hashes of its sessions."""
        return [session.session_h for session in self.sessions]

    @property
    def branch(self) -> str | None:
        """Return its branch, as the tag `pipeline_branch` says."""
        return self.sessions[0].branch

    @property
    def scm_ref(self) -> str:
        """Return its commit."""
        return self.sessions[0].scm_ref


class ComparisonPlan(msgspec.Struct, frozen=True):
    """The runs that are compared.

    `earlier` are those before the base, or before the head if `base` is empty. `between` lies after the base and before
    the head, `after` comes after the head; both can confirm a finding about the head.
    """

    earlier: tuple[BaselineRun, ...]
    base: tuple[BaselineRun, ...]
    head: tuple[BaselineRun, ...]
    between: BaselineRun | None
    after: BaselineRun | None

    @property
    def confirming(self) -> tuple[BaselineRun, ...]:
        """Return the runs around the head."""
        return tuple(run for run in (self.between, self.after) if run is not None)

    def all_runs(self) -> tuple[BaselineRun, ...]:
        """Return all runs of the plan."""
        return (*self.earlier, *self.base, *self.head, *self.confirming)


class BaselineRuns:
    """Selects runs among stored sessions; sessions that begin within `window` of each other may be one run."""

    def __init__(self, reader: HistoryReader, window: timedelta) -> None:
        self._reader = reader
        self._window = window

    async def plan(self, selection: EnvironmentSelection, base: Side | None, head: Side) -> ComparisonPlan | None:
        """Return the plan for the environment of a selection, or None if one side has no sessions in it."""
        own = set(head.sessions)
        heads = await self._of_side(selection, head, set())
        bases = await self._of_side(selection, base, own) if base is not None else ()
        if not heads or (base is not None and not bases):
            return None
        known = own.union(base.sessions if base is not None else ())
        start = bases[-1] if bases else heads[0]
        earlier = await self._earlier(selection, start, known)
        between = await self._between(selection, start, heads[0], known) if bases else None
        after = await self._after(selection, heads[-1], known)
        return ComparisonPlan(earlier[-MAX_HISTORY:], bases, heads, between, after)

    async def latest(self, selection: EnvironmentSelection, since: datetime, limit: int) -> tuple[BaselineRun, ...]:
        """Return the latest runs of an environment that began since a time, the oldest first."""
        sessions = await self._reader.sessions_until(selection, _END_OF_TIME, limit * _SESSIONS_OF_RUN)
        return self._grouped(session for session in sessions if session.started_at >= since)[-limit:]

    async def _of_side(self, selection: EnvironmentSelection, side: Side, without: set[str]) -> tuple[BaselineRun, ...]:
        wanted = [name for name in side.sessions if name not in without]
        return self._grouped(await self._reader.sessions(selection, wanted))[-_MAX_SIDE_RUNS:]

    async def _earlier(
        self, selection: EnvironmentSelection, start: BaselineRun, known: set[str]
    ) -> tuple[BaselineRun, ...]:
        """Return the runs before `start`: those of its branch, or all of them where its branch has few."""
        sessions = await self._reader.sessions_until(selection, start.last, _MAX_EARLIER_SESSIONS)
        found = self._grouped(session for session in sessions if session.session_h not in known)
        if len(sessions) == _MAX_EARLIER_SESSIONS:
            # The oldest run may have more sessions than were read.
            found = found[1:]
        same = tuple(run for run in found if run.branch == start.branch)
        return same if len(same) >= MIN_HISTORY else found

    async def _between(
        self, selection: EnvironmentSelection, base: BaselineRun, head: BaselineRun, known: set[str]
    ) -> BaselineRun | None:
        """Return the last run of the head's branch between the base and the head."""
        sessions = await self._reader.sessions_until(selection, head.first, _MAX_NEIGHBOUR_SESSIONS)
        found = self._grouped(
            session for session in sessions if session.position > base.last and session.session_h not in known
        )
        return next((run for run in reversed(found) if run.branch == head.branch), None)

    async def _after(self, selection: EnvironmentSelection, head: BaselineRun, known: set[str]) -> BaselineRun | None:
        """Return the run that can confirm the head: the next one of its commit, or else of its branch."""
        sessions = await self._reader.sessions_after(selection, head.last, _MAX_NEIGHBOUR_SESSIONS)
        found = self._grouped(session for session in sessions if session.session_h not in known)
        same_branch = [run for run in found if run.branch == head.branch]
        same_commit = [run for run in same_branch if run.scm_ref == head.scm_ref]
        return next(iter(same_commit or same_branch), None)

    def _grouped(self, sessions: Iterable[PastSession]) -> tuple[BaselineRun, ...]:
        """Return the runs that some sessions of one environment form, oldest first."""
        by_hash = {session.session_h: session for session in sessions}
        # All are of one machine, so its name does not matter.
        members = [
            grouping.RunMember(session.session_h, session.started_at, session.run_tag, session.run_key, "")
            for session in by_hash.values()
        ]
        runs = grouping.group_runs(members, self._window)
        return tuple(BaselineRun(tuple(by_hash[member.session_h] for member in run)) for run in runs)
