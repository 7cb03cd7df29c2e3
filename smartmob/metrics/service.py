"""What the feature `metrics` does: takes what test suites measured, and finds it again."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import orjson
import structlog

from smartmob.errors import Conflict, InvalidInput, NotFound, Unavailable
from smartmob.kernel.db.database import Record
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.http import json_depth, paging
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus
from smartmob.metrics import model
from smartmob.metrics.events import ContextStored, MetricsStored, SessionDeleted, SessionStored
from smartmob.metrics.model import MetricFilter, SessionFilter
from smartmob.metrics.runs import RunFinder
from smartmob.metrics.store.histories import HistoryReader
from smartmob.metrics.store.reader import MetricsReader, tags_from
from smartmob.metrics.store.writer import MetricsWriter
from smartmob.metrics.verdict import series
from smartmob.metrics.verdict.comparison_service import ComparisonService
from smartmob.metrics.verdict.host_load import HostLoadSource
from smartmob.metrics.verdict.verdicts import Comparison, ComparisonRequest, Resource
from smartmob.settings import MetricsSettings

log = structlog.get_logger()

RESOURCES = {
    "memory": "mem_usage",
    "cpu": "cpu_usage",
    "kernel_time": "kernel_time",
    "user_time": "user_time",
    "total_time": "total_time",
}
MOST_EXTREMES = 500
_BULK_FROM_METRICS = 5_000
_BULK_LOADS_AT_ONCE = 3
_MAINTENANCE_SECONDS = 3600.0
_ABANDONED_AFTER = timedelta(hours=1)

AnyNewMetric = model.NewMetric | model.ImportedMetric


@dataclass(frozen=True, slots=True)
class Listing:
    """One page of a listing, and its rows."""

    page: paging.Page
    rows: Sequence[Any]


class MetricsService:
    """The use cases of the feature. `live` adds metrics by group commit; it is the only way in for small numbers."""

    def __init__(
        self,
        reader: MetricsReader,
        histories: HistoryReader,
        writer: MetricsWriter,
        live: GroupCommitWriter[model.MetricRow],
        bus: EventBus,
        settings: MetricsSettings,
        *,
        host_load: HostLoadSource | None = None,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._live = live
        self._bus = bus
        self._settings = settings
        window = timedelta(seconds=settings.run_window)
        self._runs = RunFinder(reader, window)
        self._histories = histories
        self._comparer = ComparisonService(histories, self._runs, window, host_load)
        self._bulk_loads = asyncio.Semaphore(_BULK_LOADS_AT_ONCE)

    # -- taking -------------------------------------------------------------------------------------------------

    async def create_context(self, new: model.NewContext) -> model.Context:
        """Store a context; one whose hash is known stays as it is."""
        row = await self._writer.insert_context(
            (
                *(new.h, new.cpu_count, new.cpu_frequency, new.cpu_type, new.cpu_vendor or "", new.memory()),
                *(new.machine_node, new.machine_type, new.machine_arch, new.system_info, new.python_info),
                clock.now(),
            )
        )
        self._bus.publish(ContextStored(new.h))
        return _context(row)

    async def create_session(self, new: model.NewSession) -> model.Session:
        """Store a session; one whose hash is known stays as it is."""
        now = clock.now()
        text = new.description
        deep = isinstance(text, str) and json_depth.is_too_deep(text)
        tags = {"description": str(text)} if deep else model.tags_of(text)
        scm_ref = new.scm_ref or ""
        run_tag = tags.get(model.RUN_TAG) or None
        row, is_new = await self._writer.insert_session(
            (
                new.session_h,
                new.run_date,
                datetime.fromtimestamp(model.place_in_time("$.run_date", new.run_date, 0.0, now.timestamp()), UTC),
                scm_ref,
                msgspec.json.encode(new.description).decode(),
                orjson.dumps(tags).decode(),
                run_tag[: model.LONGEST_KEY] if run_tag else None,
                model.run_key(scm_ref, tags),
                now,
            )
        )
        if is_new:
            # Its metrics may have come before it.
            self._comparer.forget_all()
            self._bus.publish(SessionStored(new.session_h, scm_ref))
        return _session(row)

    async def create_metric(self, new: model.NewMetric) -> None:
        """Store a metric; its session and context may come later."""
        await self._live.put((model.metric_row(new, clock.epoch()),))
        self._comparer.forget(new.session_h, new.context_h)

    async def create_metrics(self, new: Sequence[AnyNewMetric]) -> None:
        """Store metrics, all of them or none; their session and context may come later."""
        now = clock.epoch()
        await self._live.put([model.metric_row(metric, now) for metric in new])
        for metric in new:
            self._comparer.forget(metric.session_h, metric.context_h)

    async def load_metrics(self, batches: AsyncIterator[Sequence[AnyNewMetric]]) -> int:
        """Store any number of metrics, all of them or none; return how many."""
        held: list[model.MetricRow] = []
        async for batch in batches:
            now = clock.epoch()
            held += [model.metric_row(metric, now) for metric in batch]
            if len(held) >= _BULK_FROM_METRICS:
                break
        else:
            if held:
                await self._live.put(held)
                self._comparer.forget_all()
            return len(held)
        async with self._bulk_loads, self._writer.bulk() as load:
            await load.write(_rows_of(batches, held, live=True))
        self._comparer.forget_all()
        self._bus.publish(MetricsStored(load.metrics))
        return load.metrics

    async def append_to_session(
        self, session_h: str, offset: int, batches: AsyncIterator[Sequence[AnyNewMetric]]
    ) -> int:
        """Store metrics of a session behind the `offset` ones that it has, all of them or none.

        So a load that was cut off can be continued, and one that is repeated changes nothing. Raises Conflict when
        the session has another number of metrics.
        """
        async with self._bulk_loads, self._writer.bulk() as load:
            there = await load.lock_session(session_h)
            if there != offset:
                raise Conflict(f"the session has {there} metrics, not {offset}; continue with offset={there}")
            await load.write(_rows_of(self._only_of(session_h, batches), live=False))
        self._comparer.forget_all()
        self._bus.publish(MetricsStored(load.metrics))
        return load.metrics

    @staticmethod
    async def _only_of(
        session_h: str, batches: AsyncIterator[Sequence[AnyNewMetric]]
    ) -> AsyncIterator[Sequence[AnyNewMetric]]:
        async for batch in batches:
            if any(metric.session_h != session_h for metric in batch):
                raise InvalidInput.at("$.session_h", f"expected {session_h}, the session in the address")
            yield batch

    async def delete_session(self, session_h: str) -> int:
        """Remove a session with its metrics; return how many metrics. Raises NotFound."""
        sessions, metrics = await self._writer.delete_session(session_h)
        if not sessions and not metrics:
            raise NotFound(f"there is no session {session_h}")
        self._comparer.forget_all()
        self._bus.publish(SessionDeleted(session_h, metrics))
        return metrics

    # -- finding ------------------------------------------------------------------------------------------------

    async def contexts(self, prefix: str | None, wanted: int) -> Listing:
        """Return a page of the contexts whose hash starts with `prefix`."""
        page = self._page(wanted, await self._reader.count_contexts(prefix))
        return Listing(page, [_context(row) for row in await self._reader.contexts(prefix, page.offset, page.size)])

    async def count_contexts(self) -> int:
        """Return how many contexts there are."""
        return await self._reader.count_contexts()

    async def sessions(self, which: SessionFilter, wanted: int) -> Listing:
        """Return a page of sessions."""
        page = self._page(wanted, await self._reader.count_sessions(which))
        return Listing(page, [_session(row) for row in await self._reader.sessions(which, page.offset, page.size)])

    async def count_sessions(self) -> int:
        """Return how many sessions there are."""
        return await self._reader.count_sessions(SessionFilter())

    async def metrics(self, which: MetricFilter, wanted: int) -> Listing:
        """Return a page of metrics, in the order of arrival."""
        page = self._page(wanted, await self._reader.count_metrics(which))
        if which == MetricFilter():
            rows = await self._reader.metrics_page(page.offset, page.size)
        else:
            rows = await self._reader.metrics(which, page.offset, page.size)
        return Listing(page, [dict(row) for row in rows])

    def every_metric(self, which: MetricFilter) -> AsyncIterator[Record]:
        """Yield all metrics, in the order of arrival."""
        return self._reader.every_metric(which)

    async def count_metrics(self, which: MetricFilter) -> int:
        """Return how many metrics there are."""
        return await self._reader.count_metrics(which)

    async def extremes(self, resource: str, which: MetricFilter, *, most: bool, limit: int) -> list[dict[str, Any]]:
        """Return the metrics with the most or the least of a resource; raises NotFound for an unknown one."""
        if resource not in RESOURCES:
            raise NotFound(f"there is no resource {resource}; there are {', '.join(RESOURCES)}")
        rows = await self._reader.extreme_metrics(which, RESOURCES[resource], most, min(limit, MOST_EXTREMES))
        return [dict(row) for row in rows]

    async def components(self, prefix: str | None, wanted: int) -> Listing:
        """Return a page of the components whose name starts with `prefix`; "" stands for none."""
        return self._slice(await self._reader.components(prefix), wanted)

    async def count_components(self) -> int:
        """Return how many components have metrics; having none is not one."""
        return sum(1 for name in await self._reader.components(None) if name)

    async def every_pipeline(self) -> list[str]:
        """Return all pipelines."""
        return await self._reader.pipelines(None)

    async def pipelines(self, component: str, wanted: int) -> Listing:
        """Return a page of the pipelines whose sessions measured a component."""
        return self._slice(await self._reader.pipelines(component), wanted)

    async def builds(self, component: str | None, pipeline: str, wanted: int) -> Listing:
        """Return a page of the builds of a pipeline."""
        return self._slice(await self._reader.builds(component, pipeline), wanted)

    async def build_sessions(self, component: str | None, pipeline: str, build: str, wanted: int) -> Listing:
        """Return a page of the hashes of a build's sessions."""
        return self._slice(await self._reader.session_hashes(component, pipeline, build), wanted)

    async def orphans(self, limit: int) -> list[Record]:
        """Return the hashes under which metrics arrived whose session never came, the latest first."""
        return await self._reader.orphans(limit)

    async def history(self, item: str, limit: int) -> list[Record]:
        """Return the executions of a test by its name or variant, newest first."""
        return await self._reader.history(item, limit)

    def _page(self, wanted: int, rows: int) -> paging.Page:
        return paging.page(wanted, rows, self._settings.page_size)

    def _slice(self, rows: Sequence[Any], wanted: int) -> Listing:
        page = self._page(wanted, len(rows))
        return Listing(page, rows[page.offset : page.offset + page.size])

    # -- runs ---------------------------------------------------------------------------------------------------

    async def runs(self, before: tuple[datetime, str], limit: int) -> list[model.Run]:
        """Return the runs that began before a place (start and hash of a run's first session), newest first."""
        return await self._runs.before(before, limit)

    async def runs_between(self, start: datetime, end: datetime, limit: int) -> list[model.Run]:
        """Return the newest runs of those that went on in a span, and began at most a day before it, newest first."""
        return await self._runs.between(start, end, limit)

    async def executions(
        self, sessions: Sequence[str], start: datetime, end: datetime, limit: int
    ) -> list[model.Executed]:
        """Return the tests that sessions began in a span, in the order of time."""
        return [model.Executed(**dict(row)) for row in await self._reader.executions(sessions, start, end, limit)]

    async def run(self, ident: str) -> model.Run:
        """Return a run by its tag, or by the hash of any of its sessions. Raises NotFound."""
        return await self._runs.described(ident)

    async def of_run(self, ident: str) -> MetricFilter:
        """Return what finds the metrics of a run. Raises NotFound."""
        return MetricFilter(sessions=tuple(member.session_h for member in await self._runs.find(ident)))

    # -- comparing ----------------------------------------------------------------------------------------------

    async def compare(self, asked: ComparisonRequest) -> Comparison:
        """Return what became slower from a base to a head. Raises InvalidInput and NotFound for what they name."""
        return await self._comparer.compare(asked)

    async def verdict_of_run(self, ident: str, resource: Resource = "total_time") -> Comparison:
        """Return what became slower in a run against what was before it; of its tests those that are no noise.

        It is remembered until something is stored that could change it. Raises NotFound.
        """
        return await self._comparer.verdict_of_run(ident, resource)

    async def series(self, item_id: uuid.UUID, limit: int) -> series.Series:
        """Return the latest executions of a test by its id, oldest first. Raises NotFound."""
        rows = await self._histories.items([item_id])
        if not rows:
            raise NotFound(f"there is no test {item_id}; a comparison tells the ids of its tests")
        name = (rows[0]["item_path"], rows[0]["item"], rows[0]["item_variant"], rows[0]["kind"])
        found = await self._histories.series(await self._histories.same_items(*name), limit)
        contexts = await self._histories.contexts(sorted({row["context_h"] for row in found}))
        return series.series(str(item_id), name, [dict(row) for row in reversed(found)], contexts)

    # -- retention ----------------------------------------------------------------------------------------------

    async def expire(self, now: datetime) -> tuple[int, int]:
        """Remove what has been kept for long enough; return how many sessions and metrics."""
        if self._settings.keep_days is None:
            return 0, 0
        sessions, metrics = await self._writer.expire(now - timedelta(days=self._settings.keep_days))
        if sessions or metrics:
            log.info("metrics.expired", sessions=sessions, metrics=metrics)
        return sessions, metrics

    async def maintain(self, now: datetime) -> None:
        """Put the tables in order: what was left by a crash, has been kept for long enough, or is named no more."""
        await self._writer.close_abandoned_blocks(now - _ABANDONED_AFTER)
        await self.expire(now)
        if removed := await self._writer.remove_unnamed_items():
            log.info("metrics.tests_removed", tests=removed)

    async def maintain_for_ever(self) -> None:
        """Put the tables in order now and each hour."""
        while True:
            try:
                await self.maintain(clock.now())
            except Unavailable as error:
                log.warning("metrics.maintenance_failed", reason=str(error))
            await asyncio.sleep(_MAINTENANCE_SECONDS)


async def _rows_of(
    batches: AsyncIterator[Sequence[AnyNewMetric]], first: Sequence[model.MetricRow] = (), *, live: bool
) -> AsyncIterator[Sequence[model.MetricRow]]:
    """Yield what is written for `first` and for `batches`."""
    if first:
        yield first
    async for batch in batches:
        now = clock.epoch() if live else None
        if batch:
            yield [model.metric_row(metric, now) for metric in batch]


def _context(row: Record) -> model.Context:
    values = dict(row)
    frequency = values["cpu_frequency"]
    # The seed calls it an integer and the plugin sends a float: each gets back what it sent.
    values["cpu_frequency"] = int(frequency) if frequency.is_integer() else frequency
    return model.Context(**values)


def _session(row: Record) -> model.Session:
    return model.Session(row["session_h"], row["run_date"], row["scm_ref"], model.tag_list(tags_from(row)))
