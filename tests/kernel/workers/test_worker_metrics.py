"""The sums of the metrics of workers."""

from __future__ import annotations

from smartmob.kernel.workers.worker_messages import WorkerMetrics
from smartmob.kernel.workers.worker_metrics import Sums

GET, POST = {"method": "GET"}, {"method": "POST"}


def test_metrics_of_all_workers_are_added() -> None:
    """Samples with the same name and labels become one."""
    first = WorkerMetrics({"requests": [("requests_total", GET, 2.0)]}, {"waiting": [("waiting", {}, 1.0)]})
    second = WorkerMetrics({"requests": [("requests_total", GET, 3.0), ("requests_total", POST, 1.0)]}, {})
    total = Sums().total([first, second])
    assert total.counters == {"requests": [("requests_total", GET, 5.0), ("requests_total", POST, 1.0)]}
    assert total.gauges == {"waiting": [("waiting", {}, 1.0)]}


def test_a_counter_never_falls_when_a_worker_ends() -> None:
    """Its counters stay in the sum; its gauges do not."""
    sums = Sums()
    sums.retire(WorkerMetrics({"requests": [("requests_total", GET, 2.0)]}, {"waiting": [("waiting", {}, 7.0)]}))
    total = sums.total([WorkerMetrics({"requests": [("requests_total", GET, 1.0)]}, {})])
    assert total == WorkerMetrics({"requests": [("requests_total", GET, 3.0)]}, {})
