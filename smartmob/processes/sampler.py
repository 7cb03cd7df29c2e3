"""What processes use: one sweep for all of them, each with its descendants."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

from smartmob.kernel.subprocesses.process_tree import descendants
from smartmob.processes.model import Sample


class Sampler:
    """Measures process trees. `sweep` blocks: call it in a thread, one at a time."""

    def __init__(self) -> None:
        self._known: dict[int, psutil.Process] = {}
        self._cpu: dict[str, tuple[int, float, float]] = {}

    def sweep(self, roots: Mapping[str, int], now: float) -> dict[str, Sample]:
        """Return a sample for each process that still lives; `roots` has their ids by slug, `now` is in seconds.

        The processor time is that of the tree's living members; it is 0 % at the first sight of a process.
        """
        known: dict[int, psutil.Process] = {}
        samples: dict[str, Sample] = {}
        cpu: dict[str, tuple[int, float, float]] = {}
        for slug, root in roots.items():
            seconds, memory, count = 0.0, 0, 0
            for pid in (root, *descendants(root)):
                try:
                    process = known[pid] = self._known.get(pid) or psutil.Process(pid)
                    with process.oneshot():
                        times = process.cpu_times()
                        memory += process.memory_info().rss
                except psutil.Error:
                    known.pop(pid, None)
                    continue
                seconds += times.user + times.system
                count += 1
            if not count:
                continue
            cpu[slug] = (root, seconds, now)
            samples[slug] = Sample(self._percent(slug, root, seconds, now), memory, count)
        self._known, self._cpu = known, cpu
        return samples

    def _percent(self, slug: str, root: int, seconds: float, now: float) -> float:
        before = self._cpu.get(slug)
        if before is None or before[0] != root or now <= before[2]:
            return 0.0
        return round(max(0.0, 100 * (seconds - before[1]) / (now - before[2])), 1)
