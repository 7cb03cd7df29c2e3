"""When programs ran, told from what happened to them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from smartmob.console.timeline import _process_spans
from smartmob.processes.model import RUNNING, Definition, ProcessEvent, Snapshot

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
END = START + timedelta(hours=1)


def _at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def _happened(minute: float, kind: str, slug: str = "a", **detail: Any) -> ProcessEvent:
    return ProcessEvent(slug=slug, at=_at(minute), kind=kind, detail=detail)


def _running(slug: str, since: float) -> Snapshot:
    definition = Definition(
        slug=slug, app="app", node="web.0", process_type="web", source_url="", env={}, grace=1.0, created_at=START
    )
    return Snapshot(
        definition=definition, state=RUNNING, detail="", output=[], downloaded=None, pid=5, port=5000,
        started_at=_at(since), uptime=1.0, restarts=0, last_status=None, next_try_at=None, sample=None, viewers=0,
    )  # fmt: skip


def _spans(*happened: ProcessEvent, present: tuple[Snapshot, ...] = ()) -> list[tuple[datetime, datetime | None, str]]:
    return [(span.start, span.end, span.level) for span in _process_spans(happened, present, START, END)]


def test_from_start_to_exit() -> None:
    """Each life of a program is a span, and one that ended badly is told apart."""
    assert _spans(
        _happened(1, "started"), _happened(5, "exited", status=0), _happened(6, "restarted"),
        _happened(9, "exited", status=1),
    ) == [(_at(1), _at(5), "plain"), (_at(6), _at(9), "warning")]  # fmt: skip


def test_one_that_ran_before() -> None:
    """It ran from the edge of the span."""
    assert _spans(_happened(5, "exited", status=0)) == [(START, _at(5), "plain")]


def test_one_that_runs() -> None:
    """It has no end, whether its start lies in the span or before it."""
    assert _spans(_happened(5, "started"), present=(_running("a", 5),)) == [(_at(5), None, "good")]
    assert _spans(present=(_running("a", -60),)) == [(_at(-60), None, "good")]


def test_one_that_a_service_left_behind() -> None:
    """Nobody tells its end, so it is a moment."""
    assert _spans(_happened(5, "started")) == [(_at(5), _at(5), "warning")]


def test_one_that_began_later() -> None:
    """It is not part of the span."""
    assert _spans(present=(_running("a", 120),)) == []
