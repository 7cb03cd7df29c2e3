"""The figures of the service as Prometheus text.

The service counts in plain numbers; they are made into metrics only when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import accumulate
from typing import Any, NamedTuple

import prometheus_client
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from smartmob import __version__
from smartmob.kernel.auth.attempt_limit import AttemptLimit
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.http.requests import BUCKETS, RequestStats
from smartmob.kernel.runtime.tasks import LoopLag, TaskRegistry

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


class _Collected(Collector):
    def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
        self._collect = collect

    def collect(self) -> Iterable[Metric]:
        return self._collect()

    def describe(self) -> Iterable[Metric]:
        return ()


class MetricsRegistry:
    """Gathers what is counted in the service."""

    def __init__(self) -> None:
        self._registry = prometheus_client.CollectorRegistry()
        prometheus_client.ProcessCollector(registry=self._registry)

    def add(self, *collects: Callable[[], Iterable[Metric]]) -> None:
        """Ask each of `collects` for metrics each time."""
        for collect in collects:
            self._registry.register(_Collected(collect))

    def text(self) -> bytes:
        """Return all metrics in the text format."""
        return prometheus_client.generate_latest(self._registry)


def http_metrics(request_stats: RequestStats) -> Callable[[], Iterator[Metric]]:
    """Return the metrics of finished requests."""

    def collect() -> Iterator[Metric]:
        info = GaugeMetricFamily("smartmob_info", "The running version.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        requests = CounterMetricFamily("smartmob_http_requests", "Finished requests.", labels=["method", "status"])
        for (method, status), count in request_stats.requests.items():
            requests.add_metric([method, str(status)], count)
        yield requests
        bounds = [*map(str, BUCKETS), "+Inf"]
        counts = accumulate(request_stats.durations)
        yield HistogramMetricFamily(
            "smartmob_http_request_duration_seconds",
            "Seconds from a request's headers to its answer.",
            buckets=list(zip(bounds, counts, strict=True)),
            sum_value=request_stats.seconds,
        )

    return collect


def writer_metrics(*writers: GroupCommitWriter[Any]) -> Callable[[], Iterator[Metric]]:
    """Return the metrics of group commit."""

    def collect() -> Iterator[Metric]:
        for name, text in (
            ("rows", "Rows committed."),
            ("batches", "Commits."),
            ("retries", "Commits tried again because the database was away."),
            ("refused", "Writes refused because the database was away or too much waited."),
        ):
            family = CounterMetricFamily(f"smartmob_writer_{name}", text, labels=["writer"])
            for writer in writers:
                family.add_metric([writer.name], getattr(writer.stats, name))
            yield family
        waiting = GaugeMetricFamily("smartmob_writer_waiting_rows", "Rows that wait now.", labels=["writer"])
        for writer in writers:
            waiting.add_metric([writer.name], writer.stats.waiting)
        yield waiting

    return collect


class Gauge(NamedTuple):
    """A figure of a feature that goes up and down."""

    name: str
    text: str
    values: Mapping[str, float]
    label: str = ""


def gauges(read: Callable[[], Iterable[Gauge]]) -> Callable[[], Iterator[Metric]]:
    """Return the metrics that `read` yields, each with its values by label; without a label the only key is ""."""

    def collect() -> Iterator[Metric]:
        for gauge in read():
            family = GaugeMetricFamily(gauge.name, gauge.text, labels=[gauge.label] if gauge.label else [])
            for key, value in gauge.values.items():
                family.add_metric([key] if gauge.label else [], value)
            yield family

    return collect


def auth_metrics(tries: AttemptLimit) -> Callable[[], Iterator[Metric]]:
    """Return the metrics of refused proofs."""

    def collect() -> Iterator[Metric]:
        text = "Wrong tokens, passwords and client ids; repeated ones of an address count once."
        yield CounterMetricFamily("smartmob_auth_refused", text, value=tries.refused)
        text = "Proofs that were not checked, since too many wrong ones had come from their address."
        yield CounterMetricFamily("smartmob_auth_limited", text, value=tries.turned_away)

    return collect


def task_metrics(tasks: TaskRegistry, lag: LoopLag) -> Callable[[], Iterator[Metric]]:
    """Return the metrics of long-lived tasks, and of the loop that they share."""

    def collect() -> Iterator[Metric]:
        yield GaugeMetricFamily("smartmob_tasks", "Long-lived tasks that run now.", value=len(tasks.names()))
        text = "How late the event loop came to a timer at the worst in the last minute."
        yield GaugeMetricFamily("smartmob_loop_lag_seconds", text, value=lag.worst)

    return collect
