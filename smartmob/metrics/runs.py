"""Finds test runs. Runs are not stored: they are computed from the neighbouring sessions on each request."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec
import orjson

from smartmob.errors import NotFound
from smartmob.kernel.db.database import Record
from smartmob.metrics import grouping, model, session_tags
from smartmob.metrics.sender_clock import explanation
from smartmob.metrics.store.reader import MetricsReader, tags_from
from smartmob.metrics.verdict.host_load import HostLoadSource
from smartmob.metrics.verdict.place import PlaceRules, SessionOrigin, place_of, unlinked

_RUN_SESSIONS = 200  # the minimum number of sessions that are read for one run
_LONGEST_RUN = timedelta(days=1)
_NEAR = timedelta(seconds=30)
"""Time around a run in which its machine must have reported: a short run may lie between two samples."""


class RunFinder:
    """Finds the runs whose sessions begin within `window` of each other.

    `host_load` returns the machines that reported their load meanwhile; it is None if machines are not watched.
    """

    def __init__(
        self,
        reader: MetricsReader,
        window: timedelta,
        rules: PlaceRules,
        host_load: HostLoadSource | None = None,
    ) -> None:
        self._host_load = host_load
        self._reader = reader
        self._rules = rules
        self._window = window

    async def before(self, before: tuple[datetime, str], limit: int) -> list[model.Run]:
        """Return the runs that began before a position (start and hash of a run's first session), newest first."""
        chunk = max(_RUN_SESSIONS, 4 * limit)
        while True:
            members = await self._reader.members_before(*before, chunk)
            runs = grouping.group_runs(await self._complete(members), self._window)
            # Runs that began before the oldest session that was read may be incomplete.
            oldest = _position(members[-1]) if len(members) == chunk else None
            known = [
                run for run in runs if _position(run[0]) < before and (oldest is None or _position(run[0]) >= oldest)
            ]
            if known or oldest is None:
                return await self._described(known[: -limit - 1 : -1])
            chunk *= 4

    async def between(self, start: datetime, end: datetime, limit: int) -> list[model.Run]:
        """Return the newest runs that were active in a time span and began at most a day before it, newest first."""
        members = await self._reader.members_between(_shifted(start, -_LONGEST_RUN), end, limit * _RUN_SESSIONS)
        runs = grouping.group_runs(await self._complete(members), self._window)
        described = await self._described(runs[: -limit - 1 : -1])
        return [run for run in described if run.started_at < end and run.ended_at >= start]

    async def run(self, ident: str) -> model.Run:
        """Return a run by its tag, or by the hash of any of its sessions. Raises NotFound."""
        run = (await self._described([await self._members(ident)]))[0]
        if self._host_load is None:
            return run
        start, end = _shifted(run.started_at, -_NEAR), _shifted(run.ended_at, _NEAR)
        names = [watched.host for watched in await self._host_load.busy(start, end)]
        reasons = dict.fromkeys(reason for place in run.places if (reason := unlinked(place, names)) is not None)
        return msgspec.structs.replace(run, unlinked="; ".join(reasons) or None)

    async def metrics_of(self, ident: str) -> model.MetricFilter:
        """Return the filter that selects the metrics of a run. Raises NotFound."""
        return model.MetricFilter(sessions=tuple(member.session_h for member in await self._members(ident)))

    async def executions(
        self, sessions: Sequence[str], start: datetime, end: datetime, limit: int
    ) -> list[model.ExecutedTest]:
        """Return the tests that some sessions began in a time span, in the order of time."""
        return [model.ExecutedTest(**dict(row)) for row in await self._reader.executions(sessions, start, end, limit)]

    async def history(self, item: str, limit: int) -> list[dict[str, Any]]:
        """Return the executions of a test by its name or variant, newest first, each with the name of its machine."""
        rows = [dict(row) for row in await self._reader.history(item, limit)]
        contexts = await self._reader.contexts_by_hash({row["context_h"] for row in rows})
        for row in rows:
            origin = SessionOrigin.of(orjson.loads(row.pop("tags")), row.pop("host"))
            row["machine"] = place_of(contexts.get(row["context_h"]), origin, self._rules).name
        return rows

    async def has_tag(self, ident: str) -> bool:
        """Return whether any session has the tag `run` with this value."""
        return bool(await self._reader.members_with_tags([ident]))

    async def _members(self, ident: str) -> list[grouping.RunMember]:
        """Return the sessions of a run by its tag, or by the hash of any of them. Raises NotFound."""
        members = await self._reader.members_with_tags([ident])
        if members:
            return grouping.group_runs(members, self._window)[0]
        member = await self._reader.member(ident)
        if member is None:
            raise NotFound(f"there is no run {ident}")
        runs = grouping.group_runs(await self._complete([member]), self._window)
        return next(run for run in runs if any(other.session_h == ident for other in run))

    async def _complete(self, members: Sequence[grouping.RunMember]) -> list[grouping.RunMember]:
        """Return `members` and all other sessions that may belong to their runs."""
        found = {member.session_h: member for member in members}
        tags = sorted({member.run_tag for member in members if member.run_tag is not None})
        if tags:
            found |= {member.session_h: member for member in await self._reader.members_with_tags(tags)}
        untagged = [member for member in members if member.run_tag is None]
        keys = sorted({member.run_key for member in untagged})
        while untagged:
            first, last = untagged[0].started_at, untagged[0].started_at
            for member in untagged:
                first, last = min(first, member.started_at), max(last, member.started_at)
            near = await self._reader.members_with_keys(
                keys, _shifted(first, -self._window), _shifted(last, self._window)
            )
            untagged = [member for member in near if member.session_h not in found]
            found |= {member.session_h: member for member in untagged}
        return list(found.values())

    async def _described(self, runs: Sequence[Sequence[grouping.RunMember]]) -> list[model.Run]:
        hashes = [member.session_h for run in runs for member in run]
        rows = {row["session_h"]: row for row in await self._reader.session_summaries(hashes)}
        contexts = await self._reader.contexts_by_hash({h for row in rows.values() for h in row["contexts"] or ()})
        return [
            _run(run, own, _places(own, contexts, self._rules))
            for run in runs
            # Sessions may have been removed meanwhile.
            if (own := [rows[member.session_h] for member in run if member.session_h in rows])
        ]


def _sum_of_known(times: Iterable[float | None]) -> float | None:
    """Return the sum of the known times, 0 if there are none, or None if all are unknown."""
    given = list(times)
    known = [time for time in given if time is not None]
    return math.fsum(known) if known or not given else None


def _position(member: grouping.RunMember) -> tuple[datetime, str]:
    return member.started_at, member.session_h


def _shifted(moment: datetime, by: timedelta) -> datetime:
    try:
        return moment + by
    except OverflowError:
        return moment


def _places(rows: Sequence[Record], contexts: Mapping[str, model.Context], rules: PlaceRules) -> list[model.Place]:
    """Return the places in which sessions measured, each once."""
    found: dict[model.Place, None] = {}
    for row in rows:
        origin = SessionOrigin.of(tags_from(row), row["host"])
        for h in row["contexts"] or ():
            found[place_of(contexts.get(h), origin, rules)] = None
    return list(found)


def _run(members: Sequence[grouping.RunMember], found: Sequence[Record], places: list[model.Place]) -> model.Run:
    """Return a run of some sessions, whose rows are `found`."""
    ends = [row["ended_at"] or row["started_at"] for row in found]
    return model.Run(
        id=grouping.run_id(members),
        started_at=found[0]["started_at"],
        ended_at=max(ends),
        scm_ref=found[0]["scm_ref"],
        tags=session_tags.tag_list(tags_from(found[0])),
        nodes=sorted({member.node for member in members if member.node is not None}),
        contexts=sorted({h for row in found for h in row["contexts"] or ()}),
        sessions=[
            model.RunSession(row["session_h"], row["run_date"], row["metrics"], row["total_time"]) for row in found
        ],
        metrics=sum(row["metrics"] for row in found),
        total_time=_sum_of_known(row["total_time"] for row in found if row["metrics"]),
        places=places,
        clock=next((said for row in found if (said := explanation(row["stated_at"], row["received_at"]))), None),
    )
