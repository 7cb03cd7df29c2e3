"""Reads the tables of the feature `metrics`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

import orjson

from smartmob.kernel.db import queries
from smartmob.kernel.db.database import Connection, Database, Record, away, is_away
from smartmob.metrics.model import MEASURES, MetricFilter, RunMember, SessionFilter

PACKAGE = "smartmob.metrics"


class _Query:
    """A query that grows by conditions; `{}` in a condition stands for the next argument."""

    def __init__(self, head: str) -> None:
        self._head = head
        self._conditions: list[str] = []
        self.arguments: list[object] = []

    def where(self, condition: str, *arguments: object) -> None:
        self._conditions.append(self._placed(condition, arguments))

    def any_of(self, conditions: Sequence[tuple[str, tuple[object, ...]]], *, all_of: bool) -> None:
        placed = [self._placed(condition, arguments) for condition, arguments in conditions]
        self._conditions.append("(" + (" AND " if all_of else " OR ").join(placed) + ")")

    def text(self, tail: str = "", *arguments: object) -> str:
        where = " WHERE " + " AND ".join(self._conditions) if self._conditions else ""
        return f"{self._head}{where} {self._placed(tail, arguments)}"

    def _placed(self, template: str, arguments: Sequence[object]) -> str:
        numbers = []
        for argument in arguments:
            self.arguments.append(argument)
            numbers.append(f"${len(self.arguments)}")
        return template.format(*numbers)


class MetricsReader:
    """Reads contexts, sessions, tests and metrics."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)

    # -- contexts and sessions ----------------------------------------------------------------------------------

    async def contexts(self, prefix: str | None, offset: int, limit: int) -> list[Record]:
        """Return contexts in the order of arrival, those whose hash starts with `prefix`."""
        query = self._of_contexts("select_contexts", prefix)
        text = query.text("ORDER BY received_at, h OFFSET {} LIMIT {}", offset, limit)
        return await self._database.fetch(text, *query.arguments)

    async def count_contexts(self, prefix: str | None = None) -> int:
        """Return how many contexts have a hash that starts with `prefix`."""
        query = self._of_contexts("", prefix)
        return int(await self._database.fetchval(query.text(), *query.arguments))

    def _of_contexts(self, name: str, prefix: str | None) -> _Query:
        query = _Query(self._sql[name] if name else "SELECT count(*) FROM test_contexts")
        if prefix is not None:
            query.where("starts_with(h, {})", prefix)
        return query

    async def sessions(self, wanted: SessionFilter, offset: int, limit: int) -> list[Record]:
        """Return sessions in the order of arrival; `tags` is JSON."""
        query = self._of_sessions(self._sql["select_sessions"], wanted)
        text = query.text("ORDER BY received_at, session_h OFFSET {} LIMIT {}", offset, limit)
        return await self._database.fetch(text, *query.arguments)

    async def count_sessions(self, wanted: SessionFilter) -> int:
        """Return how many sessions there are."""
        query = self._of_sessions("SELECT count(*) FROM test_sessions", wanted)
        return int(await self._database.fetchval(query.text(), *query.arguments))

    @staticmethod
    def _of_sessions(head: str, wanted: SessionFilter) -> _Query:
        query = _Query(head)
        if wanted.prefix is not None:
            query.where("starts_with(session_h, {})", wanted.prefix)
        if wanted.scm_prefix is not None:
            query.where("starts_with(scm_ref, {})", wanted.scm_prefix)
        if wanted.tags:
            conditions: list[tuple[str, tuple[object, ...]]] = [
                ("tags ->> {} = {}", (name, value)) if value else ("tags ->> {} != ''", (name,))
                for name, value in wanted.tags
            ]
            query.any_of(conditions, all_of=not wanted.match_any)
        return query

    # -- metrics ------------------------------------------------------------------------------------------------

    async def metrics_page(self, offset: int, limit: int) -> list[Record]:
        """Return metrics from the `offset`-th on, in the order of arrival, at a cost that does not grow with it."""

        async def read(connection: Connection) -> list[Record]:
            block = await connection.fetchrow(self._sql["find_block"], offset)
            if block is None:
                return []
            skip = offset - int(block["before"])
            return await connection.fetch(self._sql["metrics_page"], block["block"], skip, limit)

        return await self._database.run(read)

    async def metrics(self, wanted: MetricFilter, offset: int, limit: int) -> list[Record]:
        """Return metrics in the order of arrival."""
        query = self._of_metrics(self._sql["select_metrics"], wanted)
        text = query.text("ORDER BY m.block, m.seq OFFSET {} LIMIT {}", offset, limit)
        return await self._database.fetch(text, *query.arguments)

    async def extreme_metrics(self, wanted: MetricFilter, measure: str, most: bool, limit: int) -> list[Record]:
        """Return the `limit` metrics with the most or the least of a measure."""
        assert measure in MEASURES
        query = self._of_metrics(self._sql["select_metrics"], wanted)
        direction = "DESC" if most else "ASC"
        text = query.text(f"ORDER BY m.{measure} {direction} NULLS LAST, m.block, m.seq LIMIT {{}}", limit)
        return await self._database.fetch(text, *query.arguments)

    async def count_metrics(self, wanted: MetricFilter) -> int:
        """Return how many metrics there are."""
        if wanted == MetricFilter():
            return int(await self._database.fetchval(self._sql["count_all_metrics"]))
        names = (wanted.item, wanted.item_like, wanted.variant, wanted.variant_like, wanted.component, wanted.kind)
        by_item = any(name is not None for name in names)
        query = self._of_metrics(self._sql["count_metrics_of_items" if by_item else "count_metrics"], wanted)
        return int(await self._database.fetchval(query.text(), *query.arguments))

    @staticmethod
    def _of_metrics(head: str, wanted: MetricFilter) -> _Query:
        query = _Query(head)
        for value, condition in (
            (wanted.session_h, "m.session_h = {}"),
            (wanted.sessions, "m.session_h = ANY ({}::text[])"),
            (wanted.context_h, "m.context_h = {}"),
            (wanted.item, "i.item = {}"),
            (wanted.item_like, "strpos(i.item, {}) > 0"),
            (wanted.variant, "i.item_variant = {}"),
            (wanted.variant_like, "strpos(i.item_variant, {}) > 0"),
            (wanted.component, "i.component = {}"),
            (wanted.kind, "i.kind = {}"),
            (
                wanted.scm_prefix,
                "m.session_h IN (SELECT session_h FROM test_sessions WHERE starts_with(scm_ref, {}))",
            ),
        ):
            if value is not None:
                query.where(condition, value)
        if wanted.pipeline is not None:
            query.where(
                "m.session_h IN (SELECT session_h FROM test_sessions WHERE tags ->> 'pipeline_branch' = {} "
                "AND ({}::text IS NULL OR tags ->> 'pipeline_build_no' = {}))",
                *(wanted.pipeline, wanted.build, wanted.build),
            )
        return query

    async def every_metric(self, wanted: MetricFilter) -> AsyncIterator[Record]:
        """Yield metrics in the order of arrival by a cursor, so that their number does not matter."""
        query = self._of_metrics(self._sql["select_metrics"], wanted)
        try:
            async with self._database.acquire() as connection, connection.transaction(readonly=True):
                text = query.text("ORDER BY m.block, m.seq")
                async for record in connection.cursor(text, *query.arguments, prefetch=1_000):
                    yield record
        except Exception as error:
            raise (away(error) if is_away(error) else error) from error

    # -- what sessions and tests have in common ------------------------------------------------------------------

    async def components(self, prefix: str | None) -> list[str]:
        """Return the names of the components that have metrics, sorted."""
        text = self._sql["select_components"] + " AND starts_with(i.component, $1) ORDER BY 1"
        return [row["component"] for row in await self._database.fetch(text, prefix or "")]

    async def pipelines(self, component: str | None) -> list[str]:
        """Return the pipelines of all sessions, or of those with metrics of a component, sorted."""
        query = _Query(self._sql["select_pipelines"])
        query.where("s.tags ->> 'pipeline_branch' != ''")
        self._narrow(query, component, None, None)
        rows = await self._database.fetch(query.text("ORDER BY 1"), *query.arguments)
        return [row["value"] for row in rows]

    async def builds(self, component: str | None, pipeline: str) -> list[str]:
        """Return the builds of a pipeline, or of its sessions with metrics of a component, sorted."""
        query = _Query(self._sql["select_builds"])
        query.where("s.tags ->> 'pipeline_build_no' != ''")
        self._narrow(query, component, pipeline, None)
        rows = await self._database.fetch(query.text("ORDER BY 1"), *query.arguments)
        return [row["value"] for row in rows]

    async def session_hashes(self, component: str | None, pipeline: str, build: str) -> list[str]:
        """Return the sessions of a build in the order of arrival."""
        query = _Query(self._sql["select_session_hashes"])
        self._narrow(query, component, pipeline, build)
        rows = await self._database.fetch(query.text("ORDER BY s.received_at, s.session_h"), *query.arguments)
        return [row["session_h"] for row in rows]

    @staticmethod
    def _narrow(query: _Query, component: str | None, pipeline: str | None, build: str | None) -> None:
        if component is not None:
            query.where(
                "s.session_h IN (SELECT m.session_h FROM test_metrics AS m JOIN test_items AS i USING (item_id) "
                "WHERE i.component = {})",
                component,
            )
        if pipeline is not None:
            query.where("s.tags ->> 'pipeline_branch' = {}", pipeline)
        if build is not None:
            query.where("s.tags ->> 'pipeline_build_no' = {}", build)

    # -- runs ---------------------------------------------------------------------------------------------------

    async def _members(self, tail: str, *arguments: object) -> list[RunMember]:
        """Return sessions as members of runs."""
        rows = await self._database.fetch(f"{self._sql['select_run_members']} {tail}", *arguments)
        return [RunMember(*row.values()) for row in rows]

    async def members_before(self, moment: datetime, session_h: str, limit: int) -> list[RunMember]:
        """Return the sessions before a place in the order of their start, newest first."""
        return await self._members(
            "WHERE (s.started_at, s.session_h) < ($1, $2) ORDER BY s.started_at DESC, s.session_h DESC LIMIT $3",
            *(moment, session_h, limit),
        )

    async def members_between(self, start: datetime, end: datetime, limit: int) -> list[RunMember]:
        """Return the sessions that began from `start` until before `end`, newest first."""
        return await self._members(
            "WHERE s.started_at >= $1 AND s.started_at < $2 ORDER BY s.started_at DESC, s.session_h DESC LIMIT $3",
            *(start, end, limit),
        )

    async def members_like(self, keys: Sequence[str], first: datetime, last: datetime) -> list[RunMember]:
        """Return the sessions with one of some run keys, and without a run tag, that began in a span."""
        return await self._members(
            "WHERE s.run_key = ANY ($1::text[]) AND s.run_tag IS NULL AND s.started_at BETWEEN $2 AND $3",
            *(list(keys), first, last),
        )

    async def members_tagged(self, tags: Sequence[str]) -> list[RunMember]:
        """Return the sessions with one of some run tags."""
        return await self._members("WHERE s.run_tag = ANY ($1::text[])", list(tags))

    async def member(self, session_h: str) -> RunMember | None:
        """Return one session as a member of runs."""
        return next(iter(await self._members("WHERE s.session_h = $1", session_h)), None)

    async def session_summaries(self, hashes: Sequence[str]) -> list[Record]:
        """Return sessions with the number and the sum of what they measured."""
        return await self._database.fetch(self._sql["select_runs"], list(hashes))

    async def executions(self, hashes: Sequence[str], start: datetime, end: datetime, limit: int) -> list[Record]:
        """Return the executions of some sessions that began in a span, in the order of time."""
        return await self._database.fetch(self._sql["executions"], list(hashes), start, end, limit)

    async def orphans(self, limit: int) -> list[Record]:
        """Return the session hashes of metrics whose session never came."""
        return await self._database.fetch(self._sql["orphans"], limit)

    async def history(self, item: str, limit: int) -> list[Record]:
        """Return the executions of a test, newest first."""
        return await self._database.fetch(self._sql["history"], item, limit)


def tags_from(record: Record) -> dict[str, str]:
    """Return the tags of a session's row."""
    tags: dict[str, str] = orjson.loads(record["tags"])
    return tags
