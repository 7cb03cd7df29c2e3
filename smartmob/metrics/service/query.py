"""The queries of the feature `metrics`: pages of contexts, sessions, metrics and their groups."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from smartmob.errors import NotFound
from smartmob.kernel.db.database import Record
from smartmob.kernel.http import paging
from smartmob.metrics.model import MetricFilter, SessionFilter
from smartmob.metrics.store.reader import MetricsReader, context_from, session_from

RESOURCES = {
    "memory": "mem_usage",
    "cpu": "cpu_usage",
    "kernel_time": "kernel_time",
    "user_time": "user_time",
    "total_time": "total_time",
}
"""The fields of a metric by the names that the routes `/resources/…` give them."""

MAX_EXTREMES = 500  # metrics in one answer


class Listing(msgspec.Struct, frozen=True):
    """One page of a listing, and its rows."""

    page: paging.Page
    rows: Sequence[Any]


class QueryService:
    """The use cases that list and count.

    Routes do not import the store, so a query that needs neither pages nor a check is passed to the reader unchanged.
    `page` arguments are page numbers as clients send them: negative ones count from the end.
    """

    def __init__(self, reader: MetricsReader, page_size: int) -> None:
        self._reader = reader
        self._page_size = page_size

    # -- contexts and sessions ----------------------------------------------------------------------------------------

    async def contexts(self, prefix: str | None, page: int) -> Listing:
        """Return a page of the contexts whose hash starts with `prefix`."""
        found = self._page(page, await self._reader.count_contexts(prefix))
        rows = await self._reader.contexts(prefix, found.offset, found.size)
        return Listing(found, [context_from(row) for row in rows])

    async def count_contexts(self) -> int:
        """Return the number of contexts."""
        return await self._reader.count_contexts()

    async def sessions(self, selection: SessionFilter, page: int) -> Listing:
        """Return a page of sessions."""
        found = self._page(page, await self._reader.count_sessions(selection))
        rows = await self._reader.sessions(selection, found.offset, found.size)
        return Listing(found, [session_from(row) for row in rows])

    async def count_sessions(self) -> int:
        """Return the number of sessions."""
        return await self._reader.count_sessions(SessionFilter())

    # -- metrics ------------------------------------------------------------------------------------------------------

    async def metrics(self, selection: MetricFilter, page: int) -> Listing:
        """Return a page of metrics in the order of arrival."""
        found = self._page(page, await self._reader.count_metrics(selection))
        if selection == MetricFilter():
            rows = await self._reader.metrics_page(found.offset, found.size)
        else:
            rows = await self._reader.metrics(selection, found.offset, found.size)
        return Listing(found, [dict(row) for row in rows])

    def all_metrics(self, selection: MetricFilter) -> AsyncIterator[Record]:
        """Yield metrics in the order of arrival, without pages."""
        return self._reader.all_metrics(selection)

    async def count_metrics(self, selection: MetricFilter) -> int:
        """Return the number of metrics."""
        return await self._reader.count_metrics(selection)

    async def extremes(self, resource: str, selection: MetricFilter, *, most: bool, limit: int) -> list[dict[str, Any]]:
        """Return the metrics with the most or the least of a resource. Raises NotFound for an unknown resource."""
        if resource not in RESOURCES:
            raise NotFound(f"there is no resource {resource}; there are {', '.join(RESOURCES)}")
        rows = await self._reader.extreme_metrics(selection, RESOURCES[resource], most, min(limit, MAX_EXTREMES))
        return [dict(row) for row in rows]

    async def orphans(self, limit: int) -> list[Record]:
        """Return the sessions that never arrived although their metrics did, the latest first."""
        return await self._reader.orphans(limit)

    async def find_tests(self, text: str, limit: int) -> list[Record]:
        """Return the names of tests in whose path, variant or file a text occurs, in the order of names."""
        return await self._reader.find_items(text, limit)

    # -- components, pipelines and builds -----------------------------------------------------------------------------

    async def components(self, prefix: str | None, page: int) -> Listing:
        """Return a page of the components whose name starts with `prefix`; "" stands for metrics without one."""
        return self._slice(await self._reader.components(prefix), page)

    async def count_components(self) -> int:
        """Return the number of components that have metrics; "" is not counted."""
        return sum(1 for name in await self._reader.components(None) if name)

    async def all_pipelines(self) -> list[str]:
        """Return all pipelines."""
        return await self._reader.pipelines(None)

    async def pipelines(self, component: str, page: int) -> Listing:
        """Return a page of the pipelines whose sessions measured a component."""
        return self._slice(await self._reader.pipelines(component), page)

    async def builds(self, component: str | None, pipeline: str, page: int) -> Listing:
        """Return a page of the builds of a pipeline."""
        return self._slice(await self._reader.builds(component, pipeline), page)

    async def build_sessions(self, component: str | None, pipeline: str, build: str, page: int) -> Listing:
        """Return a page of the hashes of a build's sessions."""
        return self._slice(await self._reader.session_hashes(component, pipeline, build), page)

    def _page(self, number: int, rows: int) -> paging.Page:
        return paging.page(number, rows, self._page_size)

    def _slice(self, rows: Sequence[Any], number: int) -> Listing:
        page = self._page(number, len(rows))
        return Listing(page, rows[page.offset : page.offset + page.size])
