"""The documents of the pages, gathered from the services of the features. The console stores nothing itself."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from smartmob.alerts.service import AlertsService
from smartmob.commands.model import RUNNING, Job
from smartmob.console import model
from smartmob.console.changes import changes, grouped
from smartmob.console.services import Services
from smartmob.hosts.model import Host
from smartmob.hosts.time_series import MinAvgMax, Point
from smartmob.hosts.time_series import Span as HostSpan
from smartmob.kernel.runtime import clock
from smartmob.kernel.services.service_registry import OtherService
from smartmob.metrics.model import Run as StoredTestRun
from smartmob.nodes.model import SERVICE_PREFIX, Node, NodeActivity, NodeFacts
from smartmob.processes.model import ProcessSnapshot
from smartmob.turrets.model import ALL_TRANSACTIONS, LiveFrame

MAX_HOSTS = 200  # machines that the pages show
_MAX_JOBS = 20  # running jobs on the overview
_RECENT = timedelta(hours=1)
_OVERVIEW_RUNS = 8  # test runs on the overview
_OVERVIEW_CHANGES = 60  # changes on the overview
_READ_CHANGES = 1_000  # changes of each feature from which they are grouped
_SPARKLINE_SPAN = timedelta(minutes=5)
_SPARKLINE_POINTS = 60
_AFTER_ALL_JOBS = 2**62  # a job number above all others: the listing begins with the newest job


class ConsoleService:
    """Gathers the documents of the pages."""

    def __init__(self, services: Services, alerts: AlertsService) -> None:
        self.services = services
        self.alerts = alerts

    async def now(self, change_number: int) -> model.LabState:
        """Return the current state of the lab; `change_number` becomes a part of the document."""
        services = self.services
        hosts, jobs, nodes, others, records = await asyncio.gather(
            services.hosts.queries.hosts("", MAX_HOSTS),
            services.commands.jobs.page(_AFTER_ALL_JOBS, RUNNING, _MAX_JOBS),
            services.nodes.with_activity(),
            services.nodes.services_with_activity(),
            services.nodes.records.in_all(),
        )
        frame = services.turrets.live_view.current()
        return model.LabState(
            at=clock.now(),
            change_number=change_number,
            hosts=[_host(host) for host in hosts],
            processes=[_process(snapshot) for snapshot in services.processes.processes()],
            jobs=[_job(job) for job in jobs],
            load=None if frame is None else _load(frame[0], frame[1]),
            nodes=[_node(*each) for each in nodes],
            services=[_service(*each) for each in others],
            node_records=records,
        )

    async def overview(self) -> model.Overview:
        """Return the parts of the overview page that are not in the live frames."""
        end = clock.now()
        time_series, runs, changed = await asyncio.gather(
            self.time_series(end - _SPARKLINE_SPAN, end, _SPARKLINE_POINTS),
            self.test_runs(_OVERVIEW_RUNS),
            self._recent_changes(end),
        )
        return model.Overview(time_series=time_series, runs=runs, changes=changed)

    async def _recent_changes(self, end: datetime) -> list[model.Change]:
        found = await changes(self.services, self.alerts, end - _RECENT, end + timedelta(seconds=1), _READ_CHANGES)
        return grouped(found)[::-1][:_OVERVIEW_CHANGES]

    async def node_jobs(self, limit: int) -> model.NodeJobs:
        """Return the newest jobs of all nodes, newest first."""
        return model.NodeJobs(await self.services.nodes.records.jobs(None, None, None, limit))

    async def test_runs(self, limit: int) -> list[model.TestRun]:
        """Return the newest test runs with their verdicts, newest first."""
        runs = await self.services.metrics.runs.before((clock.now() + timedelta(days=1), ""), limit)
        return [await self._test_run(run) for run in runs]

    async def _test_run(self, run: StoredTestRun) -> model.TestRun:
        found = await self.services.metrics.comparisons.verdict_of_run(run.id) if run.metrics else None
        return model.TestRun(
            id=run.id,
            scm_ref=run.scm_ref,
            started_at=run.started_at,
            ended_at=run.ended_at,
            nodes=run.nodes,
            places=run.places,
            metrics=run.metrics,
            total_time=run.total_time,
            verdict=None if found is None else found.verdict,
            word=None if found is None else found.word,
            since=found is not None and any(row.since is not None for row in found.items),
            reason=None if found is None else found.explanation,
        )

    async def time_series(
        self, start: datetime, end: datetime, points: int, names: Sequence[str] | None = None
    ) -> model.AllHostTimeSeries:
        """Return the time series of machines in a span, with at most `points` values, all at the same times."""
        if names is None:
            names = [host.name for host in await self.services.hosts.queries.hosts("", MAX_HOSTS)]
        found = await self.services.hosts.queries.time_series(names, HostSpan(start, end), points)
        return _align(found)


def _align(found: dict[str, list[Point]]) -> model.AllHostTimeSeries:
    """Return the points of several machines at all times at which any of them has a point."""
    all_points = [point for points in found.values() for point in points]
    width = all_points[0].width if all_points else 0.0
    times = sorted({point.time.timestamp() for point in all_points})
    positions = {time: index for index, time in enumerate(times)}
    return model.AllHostTimeSeries(
        width=width,
        times=times,
        hosts=[_host_time_series(name, points, positions) for name, points in found.items() if points],
    )


def _host_time_series(name: str, points: Iterable[Point], positions: dict[float, int]) -> model.HostTimeSeries:
    columns: list[list[float | None]] = [[None] * len(positions) for _ in range(5)]
    for point in points:
        index = positions[point.time.timestamp()]
        values = (
            _average(point.cpu),
            None if point.cpu is None else point.cpu.max,
            _average(point.mem),
            _average(point.net_received),
            _average(point.net_sent),
        )
        for column, value in zip(columns, values, strict=True):
            # More digits would not be visible, and would double the size of the document.
            column[index] = None if value is None else round(value, 2)
    cpu, cpu_max, mem, received, sent = columns
    return model.HostTimeSeries(host=name, cpu=cpu, cpu_max=cpu_max, mem=mem, received=received, sent=sent)


def _average(value: MinAvgMax | None) -> float | None:
    return None if value is None else value.avg


def _host(host: Host) -> model.HostNow:
    latest = host.latest
    return model.HostNow(
        name=host.name,
        own=host.own,
        at=None if latest is None else latest.time,
        cpu=None if latest is None else latest.cpu,
        mem=None if latest is None else latest.mem,
        storage=None if latest is None else latest.storage,
        load=None if latest is None else latest.load,
        net_received=None if latest is None else latest.net_received,
        net_sent=None if latest is None else latest.net_sent,
        cores=None if latest is None else latest.cores,
        totals={} if latest is None else latest.totals,
        file_systems={} if latest is None else latest.file_systems,
        stale={} if latest is None else latest.stale,
        unread=[] if latest is None else latest.unread,
    )


def _process(snapshot: ProcessSnapshot) -> model.ProcessNow:
    definition, sample = snapshot.definition, snapshot.sample
    return model.ProcessNow(
        slug=definition.slug,
        app=definition.app,
        node=definition.node,
        state=snapshot.state,
        detail=snapshot.detail,
        pid=snapshot.pid,
        port=snapshot.port,
        uptime=snapshot.uptime,
        restarts=snapshot.restarts,
        last_status=snapshot.last_status,
        next_try_at=snapshot.next_try_at,
        cpu=None if sample is None else sample.cpu_percent,
        memory=None if sample is None else sample.memory,
        ready=None if snapshot.readiness is None else snapshot.ready,
        ready_detail="" if snapshot.readiness is None else snapshot.readiness.detail,
    )


def _node(node: Node, activity: NodeActivity) -> model.NodeNow:
    return model.NodeNow(
        name=node.name,
        labels=node.labels,
        connected=node.connected,
        drained=node.drained,
        seen_at=node.seen_at,
        facts=node.facts,
        activity=activity,
    )


def _service(other: OtherService, activity: NodeActivity) -> model.NodeNow:
    return model.NodeNow(
        name=SERVICE_PREFIX + other.id,
        labels={},
        connected=other.runs,
        drained=False,
        seen_at=other.seen_at,
        facts=NodeFacts(version=other.version, machine=other.machine),
        activity=activity,
        service=True,
    )


def _job(job: Job) -> model.JobNow:
    return model.JobNow(
        id=job.id, line=job.command_line, client=job.client, started_at=job.started_at, output=job.output_bytes
    )


def _load(name: str, frame: LiveFrame) -> model.LoadNow:
    timer = frame.timers.get(ALL_TRANSACTIONS)
    percentiles = timer.percentiles if timer is not None else {}
    return model.LoadNow(
        id=frame.id,
        name=name,
        state=frame.state,
        elapsed=frame.elapsed,
        run_time=frame.run_time,
        turrets=sum(turret.alive for turret in frame.turrets),
        transactions=frame.transactions,
        errors=frame.errors,
        rate=frame.rate,
        error_rate=frame.error_rate,
        p50=percentiles.get("50"),
        p99=percentiles.get("99"),
    )
