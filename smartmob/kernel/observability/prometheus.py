"""The metrics of the service in the text format of Prometheus.

The service counts in plain numbers; they are converted to metrics, and the library is imported, only when GET /metrics
is requested.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from functools import cached_property
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from smartmob import __version__
from smartmob.kernel.auth.attempt_limit import AttemptLimit
from smartmob.kernel.http.gate import BUCKET_SECONDS, RequestStats
from smartmob.kernel.runtime.row_writer import RowWriter
from smartmob.kernel.runtime.tasks import LoopLag, TaskRegistry
from smartmob.kernel.workers.worker_messages import WorkerMetrics
from smartmob.kernel.workers.worker_metrics import added

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry
    from prometheus_client.core import Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"


def _registry_of(*collects: Callable[[], Iterable[Metric]]) -> CollectorRegistry:
    """Return a registry of the library with the metrics that these functions return."""
    from prometheus_client import CollectorRegistry
    from prometheus_client.registry import Collector

    class Collected(Collector):
        def __init__(self, collect: Callable[[], Iterable[Metric]]) -> None:
            self._collect = collect

        def collect(self) -> Iterable[Metric]:
            return self._collect()

        def describe(self) -> Iterable[Metric]:
            return ()

    made = CollectorRegistry()
    for collect in collects:
        made.register(Collected(collect))
    return made


class MetricsRegistry:
    """The registry of all metrics of the service."""

    def __init__(self) -> None:
        self._collects: list[Callable[[], Iterable[Metric]]] = []
        self._metrics_of_workers: Callable[[], WorkerMetrics] | None = None

    def add(self, *collects: Callable[[], Iterable[Metric]]) -> None:
        """Add functions that return the present metrics; each is called for every request."""
        self._collects += collects

    def add_workers(self, of_workers: Callable[[], WorkerMetrics]) -> None:
        """Add the metrics of the workers to those of this process from now on."""
        self._metrics_of_workers = of_workers

    def shared(self, gauges: Container[str]) -> WorkerMetrics:
        """Return the counters of this process, and these gauges."""
        found = WorkerMetrics({}, {})
        for family in self._collect():
            grows = family.type in ("counter", "histogram") and not family.name.startswith("process_")
            if grows or family.name in gauges:
                kept = found.counters if grows else found.gauges
                kept[family.name] = [(sample.name, dict(sample.labels), sample.value) for sample in family.samples]
        return found

    def text(self) -> bytes:
        """Return all metrics in the text format, version 0.0.4."""
        from prometheus_client import generate_latest

        if self._metrics_of_workers is None:
            return generate_latest(_registry_of(self._collect))
        metrics = self._metrics_of_workers()
        return generate_latest(_registry_of(lambda: _with_metrics(self._collect(), metrics)))

    def _collect(self) -> Iterator[Metric]:
        yield from self._of_process.collect()
        for collect in self._collects:
            yield from collect()

    @cached_property
    def _of_process(self) -> CollectorRegistry:
        """Return the library's own registry of the metrics of this process."""
        from prometheus_client import CollectorRegistry, ProcessCollector

        made = CollectorRegistry()
        ProcessCollector(registry=made)
        return made


def _with_metrics(families: Iterable[Metric], metrics: WorkerMetrics) -> Iterator[Metric]:
    """Yield the families of this process, with the metrics of its workers added to them."""
    from prometheus_client.samples import Sample

    of_workers = metrics.counters | metrics.gauges
    for family in families:
        own = [(sample.name, dict(sample.labels), sample.value) for sample in family.samples]
        if family.name in of_workers:
            both = added(({"": own}, {"": of_workers[family.name]}))[""]
            family.samples = [Sample(name, labels, value) for name, labels, value in both]
        yield family


def http_metrics(request_stats: RequestStats) -> Callable[[], Iterator[Metric]]:
    """Return a function that yields the metrics of finished requests."""

    def collect() -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily

        info = GaugeMetricFamily("smartmob_info", "The running version.", labels=["version"])
        info.add_metric([__version__], 1)
        yield info
        requests = CounterMetricFamily("smartmob_http_requests", "Finished requests.", labels=["method", "status"])
        for (method, status), count in request_stats.requests.items():
            requests.add_metric([method, str(status)], count)
        yield requests
        bounds = [*map(str, BUCKET_SECONDS), "+Inf"]
        counts = accumulate(request_stats.durations)
        yield HistogramMetricFamily(
            "smartmob_http_request_duration_seconds",
            "Seconds from a request's headers to its answer.",
            buckets=list(zip(bounds, counts, strict=True)),
            sum_value=request_stats.seconds,
        )

    return collect


def writer_metrics(*writers: RowWriter[Any]) -> Callable[[], Iterator[Metric]]:
    """Return a function that yields the metrics of group commit."""

    def collect() -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        for name, text in (
            ("rows", "Rows committed."),
            ("batches", "Commits."),
            ("retries", "Commits tried again because the database was unavailable."),
            ("refused", "Writes refused because the database was unavailable or too many rows were waiting."),
        ):
            family = CounterMetricFamily(f"smartmob_writer_{name}", text, labels=["writer"])
            for writer in writers:
                family.add_metric([writer.name], getattr(writer.stats, name))
            yield family
        waiting = GaugeMetricFamily(
            "smartmob_writer_waiting_rows", "Rows that are waiting for a commit.", labels=["writer"]
        )
        for writer in writers:
            waiting.add_metric([writer.name], writer.stats.waiting)
        yield waiting

    return collect


class Gauge(NamedTuple):
    """A value of a feature that can go up and down, with its values by label."""

    name: str
    text: str
    values: Mapping[str, float]
    label: str = ""


def gauges(read: Callable[[], Iterable[Gauge]]) -> Callable[[], Iterator[Metric]]:
    """Return a function that yields the gauges that `read` returns; a gauge without a label has only the key ""."""

    def collect() -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        for gauge in read():
            family = GaugeMetricFamily(gauge.name, gauge.text, labels=[gauge.label] if gauge.label else [])
            for key, value in gauge.values.items():
                family.add_metric([key] if gauge.label else [], value)
            yield family

    return collect


def auth_metrics(attempts: AttemptLimit) -> Callable[[], Iterator[Metric]]:
    """Return a function that yields the metrics of failed authentication attempts."""

    def collect() -> Iterator[Metric]:
        from prometheus_client.core import CounterMetricFamily

        text = "Wrong tokens, passwords and client ids; repetitions from one address count once."
        yield CounterMetricFamily("smartmob_auth_refused", text, value=attempts.refused)
        text = "Tokens, passwords and client ids that were not checked, after too many wrong ones from their address."
        yield CounterMetricFamily("smartmob_auth_limited", text, value=attempts.limited)

    return collect


def task_metrics(tasks: TaskRegistry, lag: LoopLag) -> Callable[[], Iterator[Metric]]:
    """Return a function that yields the metrics of background tasks and of the event loop."""

    def collect() -> Iterator[Metric]:
        from prometheus_client.core import GaugeMetricFamily

        yield GaugeMetricFamily("smartmob_tasks", "Background tasks that are running.", value=len(tasks.names()))
        text = "The longest delay of a timer on the event loop in the last minute, in seconds."
        yield GaugeMetricFamily("smartmob_loop_lag_seconds", text, value=lag.worst)

    return collect
