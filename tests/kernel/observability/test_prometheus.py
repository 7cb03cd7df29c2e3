"""The metrics as Prometheus text, read by Prometheus's own parser."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from smartmob import __version__
from smartmob.feature_settings import DatabaseSettings
from smartmob.kernel.db.database import Database
from smartmob.kernel.db.writer import GroupCommitWriter
from smartmob.kernel.http.gate import BUCKET_SECONDS, RequestStats
from smartmob.kernel.observability.prometheus import (
    CONTENT_TYPE,
    Gauge,
    MetricsRegistry,
    gauges,
    http_metrics,
    task_metrics,
    writer_metrics,
)
from smartmob.kernel.runtime.tasks import LoopLag, TaskRegistry


def _read(*collectors: Callable[[], Iterable[Any]]) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    metrics = MetricsRegistry()
    for collector in collectors:
        metrics.add(collector)
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
    }


def _request_stats() -> RequestStats:
    return RequestStats(lambda _: None)


def test_the_version_is_a_label() -> None:
    """The running version is a label of `smartmob_info`."""
    assert _read(http_metrics(_request_stats()))["smartmob_info", (("version", __version__),)] == 1


async def test_requests_are_counted_and_timed() -> None:
    """Requests are counted by method and status, and their durations by cumulative bucket."""
    request_stats = _request_stats()
    for method, status, duration in (("GET", 200, 0.0004), ("GET", 200, 0.001), ("POST", 503, 0.3), ("GET", 200, 99.0)):
        request_stats.add((method, "/x", status, duration, "id"))
    await asyncio.sleep(0)

    found = _read(http_metrics(request_stats))

    assert found["smartmob_http_requests_total", (("method", "GET"), ("status", "200"))] == 3
    assert found["smartmob_http_requests_total", (("method", "POST"), ("status", "503"))] == 1
    name = "smartmob_http_request_duration_seconds"
    counts = [found[f"{name}_bucket", (("le", str(bound)),)] for bound in (*BUCKET_SECONDS, "+Inf")]
    assert counts == sorted(counts)
    assert (
        counts[0],
        counts[BUCKET_SECONDS.index(0.25)],
        counts[BUCKET_SECONDS.index(0.5)],
        counts[-2],
        counts[-1],
    ) == (
        2,
        2,
        3,
        3,
        4,
    )
    assert found[f"{name}_count", ()] == 4
    assert found[f"{name}_sum", ()] == pytest.approx(99.3014)


def test_request_metrics_exist_from_the_start() -> None:
    """All metrics exist before the first request."""
    assert _read(http_metrics(_request_stats()))["smartmob_http_request_duration_seconds_count", ()] == 0


def test_each_writer_has_its_metrics() -> None:
    """Each writer has its own metrics under its name."""

    async def commit(*_: object) -> None:
        raise AssertionError

    database = Database(DatabaseSettings(url="postgresql://nowhere/x"), None)
    first, second = (GroupCommitWriter[int](name, database, commit) for name in ("first", "second"))
    first.stats.rows, first.stats.batches, first.stats.waiting = 70, 3, 5
    first.stats.retries, second.stats.refused = 2, 4

    found = _read(writer_metrics(first, second))

    def both(name: str) -> list[float]:
        return [found[f"smartmob_writer_{name}", (("writer", writer),)] for writer in ("first", "second")]

    assert both("rows_total") == [70, 0]
    assert both("batches_total") == [3, 0]
    assert both("retries_total") == [2, 0]
    assert both("refused_total") == [0, 4]
    assert both("waiting_rows") == [5, 0]


async def test_tasks_and_loop_lag_are_reported() -> None:
    """The number of running tasks and the lag of the loop are reported."""
    tasks, lag = TaskRegistry(), LoopLag()
    tasks.start("one", asyncio.sleep(3600))
    tasks.start("two", asyncio.sleep(3600))

    assert _read(task_metrics(tasks, lag))["smartmob_tasks", ()] == 2
    assert _read(task_metrics(tasks, lag))["smartmob_loop_lag_seconds", ()] == 0

    await tasks.close()
    await asyncio.sleep(0)
    assert _read(task_metrics(tasks, lag))["smartmob_tasks", ()] == 0


def test_the_process_metrics_are_reported() -> None:
    """Memory and CPU time of the service are reported as by every client of Prometheus."""
    found = _read()

    assert found["process_resident_memory_bytes", ()] > 0
    assert ("process_cpu_seconds_total", ()) in found


def test_two_services_in_one_process_are_separate() -> None:
    """The metrics of two services in one process are separate."""
    assert MetricsRegistry().text()
    assert MetricsRegistry().text()


def test_the_media_type_is_the_text_format() -> None:
    """The media type is the one of the text format."""
    assert CONTENT_TYPE == "text/plain; version=0.0.4; charset=utf-8"


def test_gauges_are_read_for_every_scrape() -> None:
    """Gauges of a feature are read for every scrape; one with a label has a value for each."""
    level = {"": 1.0}

    def read() -> Iterator[Gauge]:
        yield Gauge("level", "How high.", level)
        yield Gauge("core_percent", "How busy.", {"0": 5.0, "1": 7.5}, "core")
        yield Gauge("nothing", "Not there.", {}, "sensor")

    assert {key: value for key, value in _read(gauges(read)).items() if not key[0].startswith("process_")} == {
        ("level", ()): 1.0,
        ("core_percent", (("core", "0"),)): 5.0,
        ("core_percent", (("core", "1"),)): 7.5,
    }
    level[""] = 2.0
    assert _read(gauges(read))["level", ()] == 2.0


def test_metrics_of_workers_are_added_to_those_of_the_owner() -> None:
    """Counters, histograms and some gauges are sums; all other gauges are the owner's."""
    worker, owner = MetricsRegistry(), MetricsRegistry()
    for registry, count in ((worker, 2), (owner, 3)):
        stats = RequestStats(lambda _: None)
        stats.requests["GET", 200] = count
        stats.durations[0] = count
        registry.add(http_metrics(stats))
        values = [Gauge("kept", "Kept.", {"": float(count)}), Gauge("summed", "Summed.", {"a": float(count)}, "label")]
        registry.add(gauges(lambda values=values: values))
    owner.add_workers(lambda: worker.shared({"summed"}))
    lines = owner.text().decode().splitlines()
    for line in (
        'smartmob_http_requests_total{method="GET",status="200"} 5.0',
        "smartmob_http_request_duration_seconds_count 5.0",
        'smartmob_http_request_duration_seconds_bucket{le="0.001"} 5.0',
        'summed{label="a"} 5.0',
        "kept 3.0",
    ):
        assert lines.count(line) == 1, line
