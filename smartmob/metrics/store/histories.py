"""Reads the data of comparisons: the earlier sessions of a machine, and the values of tests in them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import datetime

import msgspec

from smartmob.kernel.db import queries
from smartmob.kernel.db.reading import Reading, Record
from smartmob.metrics.model import MEASURES, Context
from smartmob.metrics.store.reader import PACKAGE
from smartmob.metrics.verdict.place import SessionOrigin

_MAX_CONTEXTS = 20_000
"""The maximum number of (newest) contexts that are read; each session has its own where the frequency varies."""


class EnvironmentSelection(msgspec.Struct, frozen=True):
    """The contexts and sessions of one environment.

    `fit` has the hashes of all contexts with its hardware and Python. `named` are those of them with its host name;
    `unnamed` are those whose host name does not identify a machine. `name` is the name of the machine, by which
    sessions with another tag or from another address are excluded; "" is a machine without a name, and None means any.
    `nameless` are those of `unnamed` whose sessions belong to the environment even without an address, because nothing
    shows that they are of another machine.
    """

    fit: list[str]
    named: list[str]
    unnamed: list[str]
    name: str | None
    nameless: Sequence[str] = ()


class SimilarContexts(msgspec.Struct, frozen=True):
    """Contexts that differ only in host name and frequency: one of them, and the host names of all by hash."""

    context: Context
    nodes: dict[str, str]


class PastSession(msgspec.Struct, frozen=True):
    """A stored session, as a part of a history."""

    started_at: datetime
    session_h: str
    run_tag: str | None
    run_key: str
    scm_ref: str
    branch: str | None

    @property
    def position(self) -> tuple[datetime, str]:
        """Return its position in the order of time."""
        return self.started_at, self.session_h


class HistoryReader:
    """Reads sessions by their context, and values by session and test."""

    def __init__(self, database: Reading) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)

    # -- names --------------------------------------------------------------------------------------------------------

    async def sessions_by_prefix(self, prefix: str, limit: int) -> list[str]:
        """Return the hashes that begin with a prefix, the one that equals it first."""
        rows = await self._database.fetch(self._sql["sessions_by_prefix"], prefix, limit)
        return [row["session_h"] for row in rows]

    async def commits_by_prefix(self, prefix: str, limit: int) -> list[str]:
        """Return the commits that begin with a prefix, the one that equals it first."""
        rows = await self._database.fetch(self._sql["commits_by_prefix"], prefix, limit)
        return [row["scm_ref"] for row in rows]

    async def latest_of_commit(self, commit: str, limit: int) -> list[str]:
        """Return the hashes of the latest sessions of a commit."""
        rows = await self._database.fetch(self._sql["latest_of_commit"], commit, limit)
        return [row["session_h"] for row in rows]

    # -- contexts -----------------------------------------------------------------------------------------------------

    async def contexts_of(self, sessions: Sequence[str]) -> dict[str, list[str]]:
        """Return the hashes of the contexts in which sessions measured, by session."""
        found: dict[str, list[str]] = {}
        for row in await self._database.fetch(self._sql["contexts_of_sessions"], list(sessions)):
            found.setdefault(row["session_h"], []).append(row["context_h"])
        return found

    async def contexts(self, hashes: Sequence[str]) -> dict[str, Context]:
        """Return the stored contexts with these hashes, by hash."""
        text = f"{self._sql['select_contexts']} WHERE h = ANY ($1::text[])"
        return {row["h"]: Context(**dict(row)) for row in await self._database.fetch(text, list(hashes))}

    async def similar_contexts(self, context: Context) -> list[SimilarContexts]:
        """Return the newest contexts with the same number of processors, grouped by equal descriptions."""
        rows = await self._database.fetch(self._sql["similar_contexts"], context.cpu_count, _MAX_CONTEXTS)
        found = []
        for row in rows:
            values = dict(row)
            hashes, nodes = values.pop("hashes"), values.pop("nodes")
            described = msgspec.structs.replace(context, **values, context_h=values["h"], machine_node=nodes[0])
            found.append(SimilarContexts(described, dict(zip(hashes, nodes, strict=True))))
        return found

    async def origins(self, sessions: Sequence[str]) -> dict[str, SessionOrigin]:
        """Return the origins of sessions, by session."""
        rows = await self._database.fetch(self._sql["session_origins"], list(sessions))
        return {row["session_h"]: SessionOrigin(row["tag"], row["host"]) for row in rows}

    async def latest_sessions(self, since: datetime, limit: int) -> list[str]:
        """Return the hashes of the latest sessions since a time, the latest first."""
        return [row["session_h"] for row in await self._database.fetch(self._sql["latest_sessions"], since, limit)]

    # -- sessions -----------------------------------------------------------------------------------------------------

    async def sessions(self, selection: EnvironmentSelection, hashes: Sequence[str]) -> list[PastSession]:
        """Return those of the sessions `hashes` that measured in an environment, in the order of time."""
        return await self._sessions("AND s.session_h = ANY ($6::text[]) ORDER BY 1, 2", selection, list(hashes))

    async def sessions_until(
        self, selection: EnvironmentSelection, last: tuple[datetime, str], limit: int
    ) -> list[PastSession]:
        """Return the latest sessions of an environment up to and including a position, in the order of time."""
        tail = "AND (s.started_at, s.session_h) <= ($6, $7) ORDER BY 1 DESC, 2 DESC LIMIT $8"
        return (await self._sessions(tail, selection, *last, limit))[::-1]

    async def sessions_after(
        self, selection: EnvironmentSelection, first: tuple[datetime, str], limit: int
    ) -> list[PastSession]:
        """Return the next sessions of an environment after a position, in the order of time."""
        tail = "AND (s.started_at, s.session_h) > ($6, $7) ORDER BY 1, 2 LIMIT $8"
        return await self._sessions(tail, selection, *first, limit)

    async def _sessions(self, tail: str, selection: EnvironmentSelection, *arguments: object) -> list[PastSession]:
        text = f"{self._sql['sessions_in_environment']} {tail}"
        contexts = (selection.fit, selection.named, selection.unnamed)
        rows = await self._database.fetch(text, *contexts, selection.name, selection.nameless, *arguments)
        return [PastSession(*row.values()) for row in rows]

    async def suite_loads(self, sessions: Sequence[str], contexts: Sequence[str]) -> list[Record]:
        """Return for each session when its tests ran, and the seconds of processor time that they used."""
        return await self._database.fetch(self._sql["suite_loads"], list(sessions), list(contexts))

    # -- values -------------------------------------------------------------------------------------------------------

    async def values(
        self, measure: str, sessions: Sequence[str], contexts: Sequence[str]
    ) -> dict[str, dict[uuid.UUID, float]]:
        """Return the value of each test by session: the minimum of its executions there."""
        assert measure in MEASURES
        text = self._sql["least_values"].format(measure=measure)
        rows = await self._database.fetch(text, list(sessions), list(contexts))
        return {row["session_h"]: dict(zip(row["items"], row["values"], strict=True)) for row in rows}

    async def items_without_value(
        self, measure: str, sessions: Sequence[str], contexts: Sequence[str]
    ) -> list[uuid.UUID]:
        """Return the ids of tests that sessions executed at least once without a value of a measure."""
        assert measure in MEASURES
        text = self._sql["items_without_value"].format(measure=measure)
        return [row["item_id"] for row in await self._database.fetch(text, list(sessions), list(contexts))]

    async def items(self, ids: Sequence[uuid.UUID]) -> list[Record]:
        """Return the rows of tests by their ids."""
        return await self._database.fetch(f"{self._sql['select_items']} WHERE item_id = ANY ($1::uuid[])", list(ids))

    async def repeated_items(self, sessions: Sequence[str], contexts: Sequence[str]) -> dict[uuid.UUID, int]:
        """Return the tests that a session executed more than once, with the largest number of executions."""
        rows = await self._database.fetch(self._sql["repeated_items"], list(sessions), list(contexts))
        found: dict[uuid.UUID, int] = {}
        for row in rows:
            found[row["item_id"]] = max(row["executions"], found.get(row["item_id"], 0))
        return found

    async def same_items(self, path: str, item: str, variant: str, kind: str) -> list[Record]:
        """Return the rows of a test in any component and source file."""
        text = f"{self._sql['select_items']} WHERE item = $2 AND item_path = $1 AND item_variant = $3 AND kind = $4"
        return await self._database.fetch(text, path, item, variant, kind)

    async def series(self, ids: Sequence[uuid.UUID], limit: int) -> list[Record]:
        """Return the latest executions of a test, newest first."""
        return await self._database.fetch(self._sql["select_series"], list(ids), limit)
