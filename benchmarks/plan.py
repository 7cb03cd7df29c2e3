"""The plan of a run of the benchmarks: durations, rounds, sizes and the folder, and its raw results."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil

from benchmarks.load import Wrk

_QUIET = 15.0
_QUIET_SAMPLE_SECONDS = 0.3


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of benchmarks: where, how long and how often. `raw` takes what was measured, by benchmark.

    `patience` is how many seconds to wait for a quiet machine.
    """

    folder: Path
    seconds: int
    rounds: int
    patience: float = 20.0
    raw: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def keep(self, benchmark: str, **figures: Any) -> None:
        """Store raw results."""
        self.raw.setdefault(benchmark, []).append(figures)

    def wait_until_quiet(self) -> None:
        """Wait for a moment in which the processors are idle, for a while; keep how busy they were at the end.

        Other programs, and data that the last candidate left to be written, must not disturb the next one.
        """
        deadline = time.monotonic() + self.patience
        while (busy := psutil.cpu_percent(_QUIET_SAMPLE_SECONDS)) > _QUIET and time.monotonic() < deadline:
            pass
        self.keep("quiet", percent_busy=busy)

    def noise(self) -> str:
        """Return a remark on how quiet the machine was."""
        found = [figures["percent_busy"] for figures in self.raw.get("quiet", ())]
        busy = sum(1 for percent in found if percent > _QUIET)
        return (
            f"Before {busy} of {len(found)} measurements the machine was busy with something else (more than "
            f"{_QUIET:.0f} % of its processors) and did not become quiet within {self.patience:.0f} s."
        )

    @contextmanager
    def place(self) -> Iterator[Path]:
        """Give a folder for one benchmark; it is gone afterwards."""
        with open_folder(self.folder) as folder:
            yield folder


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Run):
    """The sizes of a run of the benchmark `ingest`."""

    wrk: Wrk
    bulk_rows: int
    stored_rows: int
    page_requests: int
    starts: int
    settle_seconds: float


@contextmanager
def open_folder(parent: Path | None = None) -> Iterator[Path]:
    """Give a temporary folder through which the database's own system user can walk when we are root."""
    with tempfile.TemporaryDirectory(prefix="smartmob-bench-", dir=parent, ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        yield folder
