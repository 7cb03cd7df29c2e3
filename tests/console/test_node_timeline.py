"""The programs and jobs of nodes on the timeline."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

from smartmob.console.node_timeline import event_changes, event_spans, job_spans
from smartmob.nodes.model import NodeActivity, NodeProgram
from smartmob.nodes.records import NodeEvent, NodeJob

START = datetime(2026, 11, 23, 9, tzinfo=UTC)
END = START + timedelta(hours=1)


def _event(minute: int, kind: str, **detail: Any) -> NodeEvent:
    at = START + timedelta(minutes=minute)
    return NodeEvent(node="a b", slug="app.web.0", at=at, id=UUID(int=minute), kind=kind, detail=detail)


EVENTS = [_event(1, "started"), _event(5, "exited", status=3, text="exited 3"), _event(6, "started")]


def test_each_run_of_a_program_is_a_span_in_its_lane() -> None:
    """The last one goes on if the node tells so, and leads to the page of the program on its node."""
    activity = NodeActivity(programs=[NodeProgram(slug="app.web.0", state="running", pid=7)])
    first, second = event_spans("a b", EVENTS, activity, START, END)
    assert (first.lane, first.label, first.level) == ("process a b: app.web.0", "app.web.0", "warning")
    assert (second.start, second.end, second.detail) == (EVENTS[2].at, None, "pid 7")
    assert second.href == "/console/hosts/a%20b/processes/app.web.0"


def test_a_program_that_ran_all_the_time_is_shown_in_the_present_only() -> None:
    """Its past is not known without its events."""
    activity = NodeActivity(programs=[NodeProgram(slug="app.web.0", state="running", pid=7)])
    assert [(span.start, span.end) for span in event_spans("a", [], activity, START, END)] == [(START, None)]
    assert event_spans("a", [], None, START, END) == []


def test_changes_have_the_name_of_the_node() -> None:
    """Kinds that are not shown are left out."""
    found = list(event_changes("a b", [*EVENTS, _event(7, "deleted"), _event(8, "of a later version")]))
    assert [change.text for change in found][:2] == ["a b: app.web.0: started", "a b: app.web.0: exited 3"]
    assert [change.level for change in found] == ["good", "warning", "good", "plain"]
    assert found[0].href == "/console/hosts/a%20b/processes/app.web.0" and found[3].href is None


def test_jobs_are_spans_of_a_lane_of_the_node() -> None:
    """A running one has no end."""
    times = {"started_at": START.isoformat(), "ended_at": END.isoformat()}
    ended = {"id": 4, "state": "exited", "argv": ["exit 4"], "exit_code": 4, "client": "me", **times}
    running = {"id": 5, "state": "running", "argv": ["sleep", "9"], "started_at": START.isoformat()}
    first, second = job_spans(NodeJob(node="rack7", job_id=int(str(r["id"])), record=r) for r in (ended, running))
    assert (first.lane, first.label, first.level, first.end) == ("jobs rack7", "exit 4", "warning", END)
    assert (second.label, second.end, second.href) == ("sleep 9", None, "/console/hosts/rack7/jobs/5")
