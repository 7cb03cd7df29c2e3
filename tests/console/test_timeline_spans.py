"""The spans of processes on the timeline, made from their events."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from smartmob.console.timeline_spans import experiment_span, process_spans, running_programs
from smartmob.experiments.stored_experiment import summary_of
from smartmob.processes.model import RUNNING, Definition, ProcessEvent, ProcessSnapshot
from tests.experiments.reports import report

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
END = START + timedelta(hours=1)


def _at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def _event(minute: float, kind: str, slug: str = "a", **detail: Any) -> ProcessEvent:
    return ProcessEvent(slug=slug, at=_at(minute), kind=kind, detail=detail)


def _running(slug: str, since: float) -> ProcessSnapshot:
    definition = Definition(
        slug=slug, app="app", node="web.0", process_type="web", source_url="", env={}, grace=1.0, created_at=START
    )
    return ProcessSnapshot(
        definition=definition, state=RUNNING, detail="", output=[], downloaded=None, pid=5, port=5000,
        started_at=_at(since), uptime=1.0, restarts=0, last_status=None, next_try_at=None, sample=None, viewers=0,
    )  # fmt: skip


def _spans(
    *events: ProcessEvent, present: tuple[ProcessSnapshot, ...] = ()
) -> list[tuple[datetime, datetime | None, str]]:
    return [(span.start, span.end, span.level) for span in process_spans(events, running_programs(present), START, END)]


def test_a_span_reaches_from_a_start_to_the_exit() -> None:
    """Each time that a process ran is a span, and a failed one is a warning."""
    assert _spans(
        _event(1, "started"), _event(5, "exited", status=0), _event(6, "restarted"),
        _event(9, "exited", status=1),
    ) == [(_at(1), _at(5), "plain"), (_at(6), _at(9), "warning")]  # fmt: skip


def test_a_process_that_started_before_begins_at_the_edge() -> None:
    """Without a start in the time span, the process is shown from its beginning."""
    assert _spans(_event(5, "exited", status=0)) == [(START, _at(5), "plain")]


def test_a_running_process_has_no_end() -> None:
    """The span of a running process is open, whether it started in the time span or before."""
    assert _spans(_event(5, "started"), present=(_running("a", 5),)) == [(_at(5), None, "good")]
    assert _spans(present=(_running("a", -60),)) == [(_at(-60), None, "good")]


def test_a_process_without_an_exit_is_a_moment() -> None:
    """A service that was killed stored no exit, so the end is not known."""
    assert _spans(_event(5, "started")) == [(_at(5), _at(5), "warning")]


def test_a_process_that_started_later_is_left_out() -> None:
    """A process that started after the time span is not shown."""
    assert _spans(present=(_running("a", 120),)) == []


def test_an_experiment_is_coloured_by_its_verdict() -> None:
    """Its span has its sides, the counts of its verdicts and its machine."""
    found = summary_of(report(), START)
    span = experiment_span(found)
    assert (span.label, span.level, span.href) == ("main → HEAD", "bad", f"/console/experiments/{found.id}")
    assert span.detail.startswith("6 tests: 1 same, 2 slower") and span.detail.endswith("rack7")
    assert (span.start, span.end) == (found.started_at, found.ended_at)
