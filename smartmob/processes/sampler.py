"""Measuring the resource use of processes, each with all its descendants."""

from __future__ import annotations

from collections.abc import Mapping

import psutil

from smartmob.kernel.subprocesses.process_tree import descendants
from smartmob.processes.model import Sample


class ProcessSampler:
    """Measures process trees. `sample` blocks: call it in a thread, one call at a time."""

    def __init__(self) -> None:
        self._processes: dict[int, psutil.Process] = {}
        self._cpu: dict[str, tuple[int, float, float]] = {}  # slug: (pid, CPU seconds, time of the sample)

    def sample(self, pids: Mapping[str, int], now: float) -> dict[str, Sample]:
        """Return a sample for each process that still runs.

        `pids` maps slugs to process ids; `now` is in seconds of a steady clock. CPU time is that of the running members
        of the tree; the first sample of a process has 0 %.
        """
        processes: dict[int, psutil.Process] = {}
        samples: dict[str, Sample] = {}
        cpu: dict[str, tuple[int, float, float]] = {}
        for slug, root in pids.items():
            seconds, memory, count, tasks = 0.0, 0, 0, 0
            for pid in (root, *descendants(root)):
                try:
                    process = processes[pid] = self._processes.get(pid) or psutil.Process(pid)
                    with process.oneshot():
                        times = process.cpu_times()
                        memory += process.memory_info().rss
                        tasks += process.num_threads()
                except psutil.Error:
                    processes.pop(pid, None)
                    continue
                seconds += times.user + times.system
                count += 1
            if not count:
                continue
            cpu[slug] = (root, seconds, now)
            samples[slug] = Sample(self._percent(slug, root, seconds, now), memory, count, tasks)
        self._processes, self._cpu = processes, cpu
        return samples

    def _percent(self, slug: str, root: int, seconds: float, now: float) -> float:
        """Return the CPU use since the previous sample, in percent of one core."""
        previous = self._cpu.get(slug)
        if previous is None or previous[0] != root or now <= previous[2]:
            return 0.0
        return round(max(0.0, 100 * (seconds - previous[1]) / (now - previous[2])), 1)
