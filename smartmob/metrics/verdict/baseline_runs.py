"""Finds the occasions of a comparison: the runs of one place that are the base, the head, and what was around them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeAlias

from smartmob.metrics import model
from smartmob.metrics.store.histories import HistoryReader, PastSession
from smartmob.metrics.verdict.change_detection import LEAST_HISTORY
from smartmob.metrics.verdict.verdicts import Side

HISTORY = 30
"""Occasions that a history has at most."""

_SIDE = 10
_SESSIONS = 400
_NEXT = 50

Moment: TypeAlias = tuple[datetime, str]
"""When a session began, and its hash: its place in the order of time."""


@dataclass(frozen=True, slots=True)
class BaselineRun:
    """The sessions of one run that measured in one place."""

    sessions: tuple[PastSession, ...]

    @property
    def first(self) -> Moment:
        """Return when it began."""
        return self.sessions[0].moment

    @property
    def last(self) -> Moment:
        """Return when its last session began."""
        return self.sessions[-1].moment

    @property
    def hashes(self) -> list[str]:
        """Return its sessions."""
        return [session.session_h for session in self.sessions]

    @property
    def branch(self) -> str | None:
        """Return the branch that CI tells of."""
        return self.sessions[0].branch

    @property
    def scm_ref(self) -> str:
        """Return its commit."""
        return self.sessions[0].scm_ref


@dataclass(frozen=True, slots=True)
class ComparisonPlan:
    """Which occasions are compared. `earlier` are those before the base, or before the head where that is empty.

    `between` lies after the base and before the head, `after` behind the head.
    """

    earlier: tuple[BaselineRun, ...]
    base: tuple[BaselineRun, ...]
    head: tuple[BaselineRun, ...]
    between: BaselineRun | None
    after: BaselineRun | None

    @property
    def further(self) -> tuple[BaselineRun, ...]:
        """Return those around the head."""
        return tuple(occasion for occasion in (self.between, self.after) if occasion is not None)

    def every(self) -> tuple[BaselineRun, ...]:
        """Return all of them."""
        return (*self.earlier, *self.base, *self.head, *self.further)


class BaselineRuns:
    """Finds occasions among sessions, which are one run if they begin within `window` of each other."""

    def __init__(self, reader: HistoryReader, window: timedelta) -> None:
        self._reader = reader
        self._window = window

    async def plan(self, contexts: Sequence[str], base: Side | None, head: Side) -> ComparisonPlan | None:
        """Return the plan for one place, whose contexts these are; None where nothing of a side was measured there."""
        own = set(head.sessions)
        heads = await self._of_side(contexts, head, set())
        bases = await self._of_side(contexts, base, own) if base is not None else ()
        if not heads or (base is not None and not bases):
            return None
        known = own.union(base.sessions if base is not None else ())
        start = bases[-1] if bases else heads[0]
        earlier = await self._earlier(contexts, start, known)
        between = await self._between(contexts, start, heads[0], known) if bases else None
        return ComparisonPlan(earlier[-HISTORY:], bases, heads, between, await self._after(contexts, heads[-1], known))

    async def _of_side(self, contexts: Sequence[str], side: Side, without: set[str]) -> tuple[BaselineRun, ...]:
        wanted = [name for name in side.sessions if name not in without]
        return self._grouped(await self._reader.sessions(contexts, wanted))[-_SIDE:]

    async def _earlier(self, contexts: Sequence[str], start: BaselineRun, known: set[str]) -> tuple[BaselineRun, ...]:
        """Return what was before, of the same branch, or of all where there is little of it."""
        sessions = await self._reader.sessions_until(contexts, start.last, _SESSIONS)
        found = self._grouped(session for session in sessions if session.session_h not in known)
        if len(sessions) == _SESSIONS:
            # Of the oldest run there may be more sessions than were read.
            found = found[1:]
        same = tuple(occasion for occasion in found if occasion.branch == start.branch)
        return same if len(same) >= LEAST_HISTORY else found

    async def _between(
        self, contexts: Sequence[str], base: BaselineRun, head: BaselineRun, known: set[str]
    ) -> BaselineRun | None:
        """Return the last occasion of the head's branch between the base and the head."""
        sessions = await self._reader.sessions_until(contexts, head.first, _NEXT)
        found = self._grouped(
            session for session in sessions if session.moment > base.last and session.session_h not in known
        )
        return next((occasion for occasion in reversed(found) if occasion.branch == head.branch), None)

    async def _after(self, contexts: Sequence[str], head: BaselineRun, known: set[str]) -> BaselineRun | None:
        """Return the occasion that can confirm the head: the next one of its commit, or else of its branch."""
        sessions = await self._reader.sessions_after(contexts, head.last, _NEXT)
        found = self._grouped(session for session in sessions if session.session_h not in known)
        same_branch = [occasion for occasion in found if occasion.branch == head.branch]
        same_commit = [occasion for occasion in same_branch if occasion.scm_ref == head.scm_ref]
        return next(iter(same_commit or same_branch), None)

    def _grouped(self, sessions: Iterable[PastSession]) -> tuple[BaselineRun, ...]:
        """Return the runs that some sessions of one place are, oldest first."""
        by_hash = {session.session_h: session for session in sessions}
        # They are of one machine, whatever it is called.
        members = [
            model.RunMember(session.session_h, session.started_at, session.run_tag, session.run_key, "")
            for session in by_hash.values()
        ]
        runs = model.group(members, self._window)
        return tuple(BaselineRun(tuple(by_hash[member.session_h] for member in run)) for run in runs)
