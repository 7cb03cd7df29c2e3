"""Finds test runs: which sessions are one, asked from the sessions around whenever somebody wants to know."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from smartmob.errors import NotFound
from smartmob.kernel.db.database import Record
from smartmob.metrics import model
from smartmob.metrics.store.reader import MetricsReader, tags_from

_RUN_SESSIONS = 200
_LONGEST = timedelta(days=1)


class RunFinder:
    """Finds the runs whose sessions begin within `window` of each other."""

    def __init__(self, reader: MetricsReader, window: timedelta) -> None:
        self._reader = reader
        self._window = window

    async def before(self, before: tuple[datetime, str], limit: int) -> list[model.Run]:
        """Return the runs that began before a place (start and hash of a run's first session), newest first."""
        chunk = max(_RUN_SESSIONS, 4 * limit)
        while True:
            members = await self._reader.members_before(*before, chunk)
            runs = model.group(await self._complete(members), self._window)
            # Of a run that began before the oldest session that was read, others may stand in between.
            oldest = _place(members[-1]) if len(members) == chunk else None
            known = [run for run in runs if _place(run[0]) < before and (oldest is None or _place(run[0]) >= oldest)]
            if known or oldest is None:
                return await self._described(known[: -limit - 1 : -1])
            chunk *= 4

    async def between(self, start: datetime, end: datetime, limit: int) -> list[model.Run]:
        """Return the newest runs of those that went on in a span, and began at most a day before it, newest first."""
        members = await self._reader.members_between(_shifted(start, -_LONGEST), end, limit * _RUN_SESSIONS)
        runs = model.group(await self._complete(members), self._window)
        described = await self._described(runs[: -limit - 1 : -1])
        return [run for run in described if run.started_at < end and run.ended_at >= start]

    async def described(self, ident: str) -> model.Run:
        """Return a run by its tag, or by the hash of any of its sessions. Raises NotFound."""
        return (await self._described([await self.find(ident)]))[0]

    async def is_tagged(self, ident: str) -> bool:
        """Return whether some sessions have the tag `run` of this value."""
        return bool(await self._reader.members_tagged([ident]))

    async def find(self, ident: str) -> list[model.RunMember]:
        """Return the sessions of a run by its tag, or by the hash of any of them. Raises NotFound."""
        members = await self._reader.members_tagged([ident])
        if members:
            return model.group(members, self._window)[0]
        member = await self._reader.member(ident)
        if member is None:
            raise NotFound(f"there is no run {ident}")
        runs = model.group(await self._complete([member]), self._window)
        return next(run for run in runs if any(other.session_h == ident for other in run))

    async def _complete(self, members: Sequence[model.RunMember]) -> list[model.RunMember]:
        """Return `members` with all the sessions that may belong to their runs."""
        found = {member.session_h: member for member in members}
        tags = sorted({member.run_tag for member in members if member.run_tag is not None})
        if tags:
            found |= {member.session_h: member for member in await self._reader.members_tagged(tags)}
        untagged = [member for member in members if member.run_tag is None]
        keys = sorted({member.run_key for member in untagged})
        while untagged:
            first, last = untagged[0].started_at, untagged[0].started_at
            for member in untagged:
                first, last = min(first, member.started_at), max(last, member.started_at)
            near = await self._reader.members_like(keys, _shifted(first, -self._window), _shifted(last, self._window))
            untagged = [member for member in near if member.session_h not in found]
            found |= {member.session_h: member for member in untagged}
        return list(found.values())

    async def _described(self, runs: Sequence[Sequence[model.RunMember]]) -> list[model.Run]:
        hashes = [member.session_h for run in runs for member in run]
        rows = {row["session_h"]: row for row in await self._reader.session_summaries(hashes)}
        return [described for run in runs if (described := _run(run, rows)) is not None]


def _place(member: model.RunMember) -> tuple[datetime, str]:
    return member.started_at, member.session_h


def _shifted(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return moment


def _run(members: Sequence[model.RunMember], rows: Mapping[str, Record]) -> model.Run | None:
    """Return what is told of a run, or None when its sessions were removed meanwhile."""
    found = [rows[member.session_h] for member in members if member.session_h in rows]
    if not found:
        return None
    ends = [row["ended_at"] or row["started_at"] for row in found]
    return model.Run(
        id=model.run_id(members),
        started_at=found[0]["started_at"],
        ended_at=max(ends),
        scm_ref=found[0]["scm_ref"],
        tags=model.tag_list(tags_from(found[0])),
        nodes=sorted({member.node for member in members if member.node is not None}),
        contexts=sorted({h for row in found for h in row["contexts"] or ()}),
        sessions=[
            model.RunSession(row["session_h"], row["run_date"], row["metrics"], row["total_time"]) for row in found
        ],
        metrics=sum(row["metrics"] for row in found),
        total_time=sum(row["total_time"] for row in found),
    )
