"""The ingest of the feature `metrics`: stores contexts, sessions and metrics, and deletes sessions."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime

import msgspec
import orjson

from smartmob.errors import Conflict, InvalidInput, NotFound
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.http import json_depth
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.events import EventBus
from smartmob.metrics import model, session_tags, start_times
from smartmob.metrics.events import ContextStored, MetricsStored, SessionChanged, SessionDeleted, SessionStored
from smartmob.metrics.sender import HostFinder, Sender, host_of
from smartmob.metrics.sender_clock import SenderClock
from smartmob.metrics.store.reader import context_from, session_from
from smartmob.metrics.store.writer import MetricsWriter
from smartmob.metrics.verdict.outdated_verdicts import Verdicts

_BULK_MIN_METRICS = 5_000
"""Metrics of one request from which they are written in a transaction of their own instead of by group commit."""

_BULK_LOADS_AT_ONCE = 3
"""The maximum number of loads at a time: each holds a database connection while its client sends."""

AnyNewMetric = model.NewMetric | model.ImportedMetric


class IngestService:
    """The use cases that store and delete.

    `live` writes small numbers of metrics by group commit. `verdicts` drops the cached verdicts that new data can
    change.
    """

    def __init__(
        self,
        writer: MetricsWriter,
        live: GroupCommitWriter[model.MetricRow],
        bus: EventBus,
        verdicts: Verdicts,
        sender_clock: SenderClock,
        host_finder: HostFinder | None = None,
    ) -> None:
        self._writer = writer
        self._live = live
        self._bus = bus
        self._verdicts = verdicts
        self._sender_clock = sender_clock
        self._host_finder = host_finder
        self._bulk_loads = asyncio.Semaphore(_BULK_LOADS_AT_ONCE)

    async def create_context(self, new: model.NewContext) -> model.Context:
        """Store a context and return it; a stored one with the same hash is kept and returned."""
        row = await self._writer.insert_context(
            (
                new.h,
                new.cpu_count,
                new.cpu_frequency,
                new.cpu_type,
                new.cpu_vendor or "",
                new.memory(),
                new.machine_node,
                new.machine_type,
                new.machine_arch,
                new.system_info,
                new.python_info,
                clock.now(),
            )
        )
        self._bus.publish(ContextStored(new.h))
        return context_from(row)

    async def create_session(self, new: model.NewSession, sender: Sender | None = None) -> model.Session:
        """Store a session that came from `sender` and return it; a stored one with the same hash is kept and returned.

        A session whose time is not plausible is ordered by its arrival.
        """
        now = clock.now()
        text = new.description
        deep = isinstance(text, str) and json_depth.is_too_deep(text)
        tags = {"description": str(text)} if deep else session_tags.tags_of(text)
        scm_ref = new.scm_ref or ""
        if new.started_at is not None:
            began = start_times.moment_to_utc("$.run_date", new.run_date, new.started_at)
            sender = None  # a file says where its tests ran; the client that imports it does not
        else:
            began = start_times.local_to_utc("$.run_date", new.run_date, 0.0, now.timestamp())
        stated = datetime.fromtimestamp(began, UTC)
        plausible = self._sender_clock.is_plausible(began, now.timestamp())
        row, is_new = await self._writer.insert_session(
            (
                new.session_h,
                new.run_date,
                stated if plausible else now,
                scm_ref,
                msgspec.json.encode(new.description).decode(),
                orjson.dumps(tags).decode(),
                session_tags.run_tag(tags),
                session_tags.run_key(scm_ref, tags),
                now,
            ),
            stated_at=None if plausible else stated,
            sender=sender.address if sender is not None else None,
            host=host_of(sender, self._host_finder, stated.timestamp(), now.timestamp()),
        )
        if is_new:
            # Its metrics may have arrived before it.
            self._verdicts.invalidate_all()
            self._bus.publish(SessionStored(new.session_h, scm_ref))
        return session_from(row)

    async def create_metric(self, new: model.NewMetric) -> None:
        """Store a metric; its session and context may arrive later."""
        await self._live.put((self._row(new, clock.epoch(), live=True),))
        self._verdicts.invalidate(new.session_h, new.context_h)

    async def create_metrics(self, new: Sequence[AnyNewMetric]) -> None:
        """Store all metrics or none; their session and context may arrive later."""
        now = clock.epoch()
        await self._live.put([self._row(metric, now, live=True) for metric in new])
        for metric in new:
            self._verdicts.invalidate(metric.session_h, metric.context_h)

    async def load_metrics(self, batches: AsyncIterator[Sequence[AnyNewMetric]]) -> int:
        """Store any number of metrics, all or none; return how many."""
        held: list[model.MetricRow] = []
        async for batch in batches:
            now = clock.epoch()
            held += [self._row(metric, now, live=True) for metric in batch]
            if len(held) >= _BULK_MIN_METRICS:
                break
        else:
            if held:
                await self._live.put(held)
                self._verdicts.invalidate_all()
            return len(held)
        async with self._bulk_loads, self._writer.bulk() as load:
            await load.write(self._rows_of(batches, held, live=True))
        return self._loaded(load.metrics)

    async def append_to_session(
        self, session_h: str, offset: int, batches: AsyncIterator[Sequence[AnyNewMetric]]
    ) -> int:
        """Append metrics to the `offset` ones that a session has, all or none; return how many.

        Thus an interrupted load can be continued, and a repeated one changes nothing. Raises Conflict if the session
        has another number of metrics.
        """
        async with self._bulk_loads, self._writer.bulk() as load:
            stored = await load.lock_session(session_h)
            if stored != offset:
                raise Conflict(f"the session has {stored} metrics, not {offset}; continue with offset={stored}")
            await load.write(self._rows_of(_only_of_session(session_h, batches), live=False))
        return self._loaded(load.metrics)

    async def change_session(self, session_h: str, change: model.SessionChange) -> model.Session:
        """Change the tags or the commit of a session, and thus the run to which it belongs. Raises NotFound."""

        def changed(scm_ref: str, tags: dict[str, str]) -> tuple[str, dict[str, str], str | None, str]:
            kept = {name: value for name, value in tags.items() if name not in change.tags}
            kept |= {name: value for name, value in change.tags.items() if value is not None}
            commit = scm_ref if change.scm_ref is None else change.scm_ref
            return commit, kept, session_tags.run_tag(kept), session_tags.run_key(commit, kept)

        row = await self._writer.change_session(session_h, changed)
        if row is None:
            raise NotFound(f"there is no session {session_h}")
        self._verdicts.invalidate_all()
        self._bus.publish(SessionChanged(session_h))
        return session_from(row)

    async def delete_session(self, session_h: str) -> int:
        """Delete a session with its metrics; return how many metrics. Raises NotFound."""
        sessions, metrics = await self._writer.delete_session(session_h)
        if not sessions and not metrics:
            raise NotFound(f"there is no session {session_h}")
        self._verdicts.invalidate_all()
        self._bus.publish(SessionDeleted(session_h, metrics))
        return metrics

    def _row(self, metric: AnyNewMetric, now: float, *, live: bool) -> model.MetricRow:
        """Return the row of a metric that arrives at `now`; a `live` metric has just been measured."""
        return self._sender_clock.ordered(model.metric_row(metric, now if live else None), now)

    async def _rows_of(
        self, batches: AsyncIterator[Sequence[AnyNewMetric]], first: Sequence[model.MetricRow] = (), *, live: bool
    ) -> AsyncIterator[Sequence[model.MetricRow]]:
        """Yield `first` and then the rows of `batches`; `live` metrics have just been measured."""
        if first:
            yield first
        async for batch in batches:
            now = clock.epoch()
            if batch:
                yield [self._row(metric, now, live=live) for metric in batch]

    def _loaded(self, metrics: int) -> int:
        self._verdicts.invalidate_all()
        self._bus.publish(MetricsStored(metrics))
        return metrics


async def _only_of_session(
    session_h: str, batches: AsyncIterator[Sequence[AnyNewMetric]]
) -> AsyncIterator[Sequence[AnyNewMetric]]:
    """Yield the batches. Raises InvalidInput for a metric of another session."""
    async for batch in batches:
        if any(metric.session_h != session_h for metric in batch):
            raise InvalidInput.at("$.session_h", f"expected {session_h}, the session in the address")
        yield batch
