"""The curves of programs: a point for each measured program, the newest ones, and none of those that are gone."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, cast

from smartmob.console.usage import POINTS, STEP_SECONDS, UsageRecorder
from smartmob.processes.model import RUNNING, Definition, ProcessSnapshot, Sample

START = datetime(2026, 11, 23, 9, tzinfo=UTC)


def _snapshot(slug: str, sample: Sample | None) -> ProcessSnapshot:
    definition = Definition(
        slug=slug, app="app", node="web.0", process_type="web", source_url="", env={}, grace=1.0, created_at=START
    )
    return ProcessSnapshot(
        definition=definition, state=RUNNING, detail="", output=[], downloaded=None, pid=5, port=5000, started_at=START,
        uptime=1.0, restarts=0, last_status=None, next_try_at=None, sample=sample, viewers=0,
    )  # fmt: skip


def test_a_curve_has_the_points_of_the_last_ten_minutes() -> None:
    """Old points leave, a program without a sample has no curve, and one that is gone loses its curve."""
    recorder = UsageRecorder(cast(Any, None))
    for step in range(POINTS + 3):
        recorder.note([_snapshot("b", Sample(50.04, step, 1)), _snapshot("none", None)], step * STEP_SECONDS)
    recorder.note([_snapshot("a", Sample(1.0, 7, 1))], (POINTS + 3) * STEP_SECONDS)
    first, second = recorder.curves().processes
    assert (first.slug, first.times, first.cpu, first.memory) == ("a", [(POINTS + 3) * STEP_SECONDS], [1.0], [7])
    assert (second.slug, len(second.times), second.cpu[0], second.memory[0]) == ("b", POINTS, 50.0, 3)
    recorder.note([], (2 * POINTS + 3) * STEP_SECONDS)
    assert recorder.curves().processes == []
