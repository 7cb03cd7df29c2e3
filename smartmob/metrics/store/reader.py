"""Reads the tables of the feature `metrics`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Sequence
from datetime import datetime

import orjson

from smartmob.kernel.db import queries
from smartmob.kernel.db.database import is_unavailable, unavailable
from smartmob.kernel.db.reading import Connection, Reading, Record
from smartmob.metrics.grouping import RunMember
from smartmob.metrics.model import MEASURES, Context, MetricFilter, Session, SessionFilter
from smartmob.metrics.session_tags import tag_list

PACKAGE = "smartmob.metrics"

_BY_FIRST_ARRIVAL = "GROUP BY 1 ORDER BY min(s.received_at), min(s.session_h), 1"
"""Names of sessions, in the order in which the first session of each arrived, so build 10 comes after build 9."""


class _Query:
    """A query to which conditions are added; `{}` in a condition stands for its next argument."""

    def __init__(self, head: str) -> None:
        self._head = head
        self._conditions: list[str] = []
        self.arguments: list[object] = []

    def where(self, condition: str, *arguments: object) -> None:
        self._conditions.append(self._numbered(condition, arguments))

    def any_of(self, conditions: Sequence[tuple[str, tuple[object, ...]]], *, all_of: bool) -> None:
        numbered = [self._numbered(condition, arguments) for condition, arguments in conditions]
        self._conditions.append("(" + (" AND " if all_of else " OR ").join(numbered) + ")")

    def text(self, tail: str = "", *arguments: object) -> str:
        where = " WHERE " + " AND ".join(self._conditions) if self._conditions else ""
        return f"{self._head}{where} {self._numbered(tail, arguments)}"

    def _numbered(self, template: str, arguments: Sequence[object]) -> str:
        numbers = []
        for argument in arguments:
            self.arguments.append(argument)
            numbers.append(f"${len(self.arguments)}")
        return template.format(*numbers)


class MetricsReader:
    """Reads contexts, sessions, tests and metrics."""

    def __init__(self, database: Reading) -> None:
        self._database = database
        self._sql = queries.load(PACKAGE)

    # -- contexts and sessions ----------------------------------------------------------------------------------

    async def contexts(self, prefix: str | None, offset: int, limit: int) -> list[Record]:
        """Return the contexts whose hash starts with `prefix`, in the order of arrival."""
        query = self._context_query("select_contexts", prefix)
        text = query.text("ORDER BY received_at, h OFFSET {} LIMIT {}", offset, limit)
        return await self._database.fetch(text, *query.arguments)

    async def count_contexts(self, prefix: str | None = None) -> int:
        """Return the number of contexts whose hash starts with `prefix`."""
        query = self._context_query("", prefix)
        return int(await self._database.fetchval(query.text(), *query.arguments))

    async def contexts_by_hash(self, hashes: Collection[str]) -> dict[str, Context]:
        """Return the stored contexts with these hashes, by hash."""
        text = f"{self._sql['select_contexts']} WHERE h = ANY ($1::text[])"
        return {row["h"]: Context(**dict(row)) for row in await self._database.fetch(text, sorted(hashes))}

    def _context_query(self, name: str, prefix: str | None) -> _Query:
        query = _Query(self._sql[name] if name else "SELECT count(*) FROM test_contexts")
        if prefix is not None:
            query.where("starts_with(h, {})", prefix)
        return query

    async def sessions(self, selection: SessionFilter, offset: int, limit: int) -> list[Record]:
        """Return the selected sessions in the order of arrival; `tags` is JSON."""
        query = self._session_query(self._sql["select_sessions"], selection)
        text = query.text("ORDER BY received_at, session_h OFFSET {} LIMIT {}", offset, limit)
        return await self._database.fetch(text, *query.arguments)

    async def count_sessions(self, selection: SessionFilter) -> int:
        """Return the number of selected sessions."""
        query = self._session_query("SELECT count(*) FROM test_sessions", selection)
        return int(await self._database.fetchval(query.text(), *query.arguments))

    @staticmethod
    def _session_query(head: str, selection: SessionFilter) -> _Query:
        query = _Query(head)
        if selection.prefix is not None:
            query.where("starts_with(session_h, {})", selection.prefix)
        if selection.scm_prefix is not None:
            query.where("starts_with(scm_ref, {})", selection.scm_prefix)
        if selection.tags:
            conditions: list[tuple[str, tuple[object, ...]]] = [
                ("tags ->> {} = {}", (name, value)) if value else ("tags ->> {} != ''", (name,))
                for name, value in selection.tags
            ]
            query.any_of(conditions, all_of=not selection.match_any)
        return query

    # -- metrics ------------------------------------------------------------------------------------------------

    async def metrics_page(self, offset: int, limit: int) -> list[Record]:
        """Return metrics from the `offset`-th on, in the order of arrival; the cost does not grow with `offset`."""

        async def read(connection: Connection) -> list[Record]:
            block = await connection.fetchrow(self._sql["find_block"], offset)
            if block is None:
                return []
            skip = offset - int(block["before"])
            return await connection.fetch(self._sql["metrics_page"], block["block"], skip, limit)

        return await self._database.run(read)

    async def metrics(self, selection: MetricFilter, offset: int, limit: int) -> list[Record]:
        """Return the selected metrics in the order of arrival."""
        query = self._metric_query(self._sql["select_metrics"], selection)
        text = query.text("ORDER BY m.block, m.seq OFFSET {} LIMIT {}", offset, limit)
        return await self._database.fetch(text, *query.arguments)

    async def extreme_metrics(self, selection: MetricFilter, measure: str, most: bool, limit: int) -> list[Record]:
        """Return the `limit` selected metrics with the most or the least of a measure."""
        assert measure in MEASURES
        query = self._metric_query(self._sql["select_metrics"], selection)
        direction = "DESC" if most else "ASC"
        text = query.text(f"ORDER BY m.{measure} {direction} NULLS LAST, m.block, m.seq LIMIT {{}}", limit)
        return await self._database.fetch(text, *query.arguments)

    async def count_metrics(self, selection: MetricFilter) -> int:
        """Return the number of selected metrics."""
        if selection == MetricFilter():
            return int(await self._database.fetchval(self._sql["count_all_metrics"]))
        names = (
            selection.item,
            selection.item_like,
            selection.variant,
            selection.variant_like,
            selection.component,
            selection.kind,
        )
        by_item = any(name is not None for name in names)
        query = self._metric_query(self._sql["count_metrics_of_items" if by_item else "count_metrics"], selection)
        return int(await self._database.fetchval(query.text(), *query.arguments))

    @staticmethod
    def _metric_query(head: str, selection: MetricFilter) -> _Query:
        query = _Query(head)
        for value, condition in (
            (selection.session_h, "m.session_h = {}"),
            (selection.sessions, "m.session_h = ANY ({}::text[])"),
            (selection.context_h, "m.context_h = {}"),
            (selection.item, "i.item = {}"),
            (selection.item_like, "strpos(i.item, {}) > 0"),
            (selection.variant, "i.item_variant = {}"),
            (selection.variant_like, "strpos(i.item_variant, {}) > 0"),
            (selection.component, "i.component = {}"),
            (selection.kind, "i.kind = {}"),
            (
                selection.scm_prefix,
                "m.session_h IN (SELECT session_h FROM test_sessions WHERE starts_with(scm_ref, {}))",
            ),
        ):
            if value is not None:
                query.where(condition, value)
        if selection.pipeline is not None:
            query.where(
                "m.session_h IN (SELECT session_h FROM test_sessions WHERE tags ->> 'pipeline_branch' = {} "
                "AND ({}::text IS NULL OR tags ->> 'pipeline_build_no' = {}))",
                selection.pipeline,
                selection.build,
                selection.build,
            )
        return query

    async def all_metrics(self, selection: MetricFilter) -> AsyncIterator[Record]:
        """Yield the selected metrics in the order of arrival; a database cursor keeps the memory bounded."""
        query = self._metric_query(self._sql["select_metrics"], selection)
        try:
            async with self._database.acquire() as connection, connection.transaction(readonly=True):
                text = query.text("ORDER BY m.block, m.seq")
                async for record in connection.cursor(text, *query.arguments, prefetch=1_000):
                    yield record
        except Exception as error:
            raise (unavailable(error) if is_unavailable(error) else error) from error

    # -- components, pipelines and builds -------------------------------------------------------------------------

    async def components(self, prefix: str | None) -> list[str]:
        """Return the names of the components that have metrics, sorted."""

        async def read(connection: Connection) -> list[str]:
            rows = await connection.fetch(self._sql["select_components"], prefix or "")
            names = [row["component"] for row in rows]
            return [name for name in names if await connection.fetchrow(self._sql["metric_of_component"], name)]

        return await self._database.run(read)

    async def pipelines(self, component: str | None) -> list[str]:
        """Return the pipelines of all sessions, or of those with metrics of a component, in the order of arrival."""
        query = _Query(self._sql["select_pipelines"])
        query.where("s.tags ->> 'pipeline_branch' != ''")
        self._add_origin(query, component, None, None)
        rows = await self._database.fetch(query.text(_BY_FIRST_ARRIVAL), *query.arguments)
        return [row["value"] for row in rows]

    async def builds(self, component: str | None, pipeline: str) -> list[str]:
        """Return the builds of a pipeline, or of its sessions with metrics of a component, in the order of arrival."""
        query = _Query(self._sql["select_builds"])
        query.where("s.tags ->> 'pipeline_build_no' != ''")
        self._add_origin(query, component, pipeline, None)
        rows = await self._database.fetch(query.text(_BY_FIRST_ARRIVAL), *query.arguments)
        return [row["value"] for row in rows]

    async def session_hashes(self, component: str | None, pipeline: str, build: str) -> list[str]:
        """Return the sessions of a build in the order of arrival."""
        query = _Query(self._sql["select_session_hashes"])
        self._add_origin(query, component, pipeline, build)
        rows = await self._database.fetch(query.text("ORDER BY s.received_at, s.session_h"), *query.arguments)
        return [row["session_h"] for row in rows]

    @staticmethod
    def _add_origin(query: _Query, component: str | None, pipeline: str | None, build: str | None) -> None:
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
        """Return the sessions before a position in the order of their start, newest first."""
        return await self._members(
            "WHERE (s.started_at, s.session_h) < ($1, $2) ORDER BY s.started_at DESC, s.session_h DESC LIMIT $3",
            moment,
            session_h,
            limit,
        )

    async def members_between(self, start: datetime, end: datetime, limit: int) -> list[RunMember]:
        """Return the sessions that began from `start` until before `end`, newest first."""
        return await self._members(
            "WHERE s.started_at >= $1 AND s.started_at < $2 ORDER BY s.started_at DESC, s.session_h DESC LIMIT $3",
            start,
            end,
            limit,
        )

    async def members_with_keys(self, keys: Sequence[str], first: datetime, last: datetime) -> list[RunMember]:
        """Return the sessions without a run tag that have one of some run keys and began in a time span."""
        return await self._members(
            "WHERE s.run_key = ANY ($1::text[]) AND s.run_tag IS NULL AND s.started_at BETWEEN $2 AND $3",
            list(keys),
            first,
            last,
        )

    async def members_with_tags(self, tags: Sequence[str]) -> list[RunMember]:
        """Return the sessions that have one of some run tags."""
        return await self._members("WHERE s.run_tag = ANY ($1::text[])", list(tags))

    async def member(self, session_h: str) -> RunMember | None:
        """Return one session as a member of runs."""
        return next(iter(await self._members("WHERE s.session_h = $1", session_h)), None)

    async def session_summaries(self, hashes: Sequence[str]) -> list[Record]:
        """Return sessions with the number of their metrics and the sum of their durations."""
        return await self._database.fetch(self._sql["select_runs"], list(hashes))

    async def executions(self, hashes: Sequence[str], start: datetime, end: datetime, limit: int) -> list[Record]:
        """Return the executions of some sessions that began in a time span, in the order of time."""
        return await self._database.fetch(self._sql["executions"], list(hashes), start, end, limit)

    async def orphans(self, limit: int) -> list[Record]:
        """Return the sessions that never arrived although their metrics did, the latest first."""
        return await self._database.fetch(self._sql["orphans"], limit)

    async def find_items(self, text: str, limit: int) -> list[Record]:
        """Return the names of tests in which a text occurs, in the order of names."""
        return await self._database.fetch(self._sql["find_items"], text, limit)

    async def history(self, item: str, limit: int) -> list[Record]:
        """Return the executions of a test by its name or variant, newest first."""
        return await self._database.fetch(self._sql["history"], item, limit)


def context_from(record: Record) -> Context:
    """Return the context of a row."""
    values = dict(record)
    frequency = values["cpu_frequency"]
    # The seed describes an integer and the plugin sends a float: each client gets back the number that it sent.
    values["cpu_frequency"] = int(frequency) if frequency.is_integer() else frequency
    return Context(**values)


def session_from(record: Record) -> Session:
    """Return the session of a row."""
    return Session(record["session_h"], record["run_date"], record["scm_ref"], tag_list(tags_from(record)))


def tags_from(record: Record) -> dict[str, str]:
    """Return the tags of a session's row."""
    tags: dict[str, str] = orjson.loads(record["tags"])
    return tags
