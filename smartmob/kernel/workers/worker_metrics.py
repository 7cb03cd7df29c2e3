"""The sums of the metrics of all workers, including those that have ended. No I/O."""

from __future__ import annotations

from collections.abc import Iterable

from smartmob.kernel.workers.worker_messages import Sample, WorkerMetrics


class Sums:
    """Adds metrics. Counters of workers that have ended stay in the sum, so that no counter ever falls."""

    def __init__(self) -> None:
        self._retired: dict[str, list[Sample]] = {}

    def retire(self, metrics: WorkerMetrics) -> None:
        """Keep the counters of a worker that has ended."""
        self._retired = added((self._retired, metrics.counters))

    def total(self, running: Iterable[WorkerMetrics]) -> WorkerMetrics:
        """Return the sums of these metrics and of the counters that were kept."""
        each = list(running)
        counters = added((self._retired, *(metrics.counters for metrics in each)))
        return WorkerMetrics(counters, added(metrics.gauges for metrics in each))


def added(families: Iterable[dict[str, list[Sample]]]) -> dict[str, list[Sample]]:
    """Return the sum of samples with the same family, name and labels."""
    sums: dict[str, dict[tuple[str, tuple[tuple[str, str], ...]], float]] = {}
    for each in families:
        for family, samples in each.items():
            found = sums.setdefault(family, {})
            for name, labels, value in samples:
                key = name, tuple(labels.items())
                found[key] = found.get(key, 0.0) + value
    return {
        family: [(name, dict(labels), value) for (name, labels), value in found.items()]
        for family, found in sums.items()
    }
