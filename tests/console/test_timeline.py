"""The spans of tests on the timeline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from smartmob.console import model
from smartmob.console.timeline import _run_span, _test_span
from smartmob.metrics.model import ExecutedTest

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
END = START + timedelta(hours=1)


def test_a_test_of_an_unknown_time_is_a_moment() -> None:
    """The page says that the time is unknown, and a run of such tests too."""
    test = ExecutedTest(session_h="s", started_at=START, item_path="p", item="t", item_variant="t", total_time=None)
    span = _test_span(test)
    assert (span.start, span.end, span.detail) == (START, START, "unknown time")
    run = model.TestRun(id="r", scm_ref="", started_at=START, ended_at=END, nodes=["n"], metrics=1, total_time=None)
    assert _run_span(run).detail == "1 test, unknown time, n"
