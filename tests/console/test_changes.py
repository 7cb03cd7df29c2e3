"""The texts and levels of changes."""

from __future__ import annotations

from datetime import UTC, datetime

from smartmob.commands.model import Job
from smartmob.console.changes import _of_alerts, _of_jobs, _of_processes
from smartmob.processes.model import ProcessEvent
from tests.alerts.samples import alert

NOW = datetime(2026, 11, 23, 9, tzinfo=UTC)


def test_exits_are_warnings_unless_they_were_requested() -> None:
    """A process that was asked to end is no warning, a failed one is, and a deleted one has no link."""
    events = [
        ProcessEvent(slug="a.web/0", at=NOW, kind="started", detail={"text": "started, pid 5"}),
        ProcessEvent(slug="a", at=NOW, kind="exited", detail={"text": "ended by signal 15", "status": -15}),
        ProcessEvent(slug="a", at=NOW, kind="exited", detail={"text": "exited 1", "status": 1}),
        ProcessEvent(slug="a", at=NOW, kind="deleted"),
        ProcessEvent(slug="a", at=NOW, kind="stopping"),
    ]
    assert [(change.text, change.level, change.href) for change in _of_processes(events)] == [
        ("a.web/0: started, pid 5", "good", "/console/processes/a.web%2F0"),
        ("a: ended by signal 15", "plain", "/console/processes/a"),
        ("a: exited 1", "warning", "/console/processes/a"),
        ("a: deleted", "plain", None),
    ]


def test_jobs_with_a_bad_exit_code_are_warnings() -> None:
    """A running job is plain, and one that exited with a code other than 0 is a warning."""
    job = Job(id=7, command="exec", argv=["make"], cwd="/", env_names=[], client="me", state="running", started_at=NOW)
    ended = Job(
        id=8, command="exec", argv=["make"], cwd="/", env_names=[], client="me", state="exited", started_at=NOW,
        ended_at=NOW, exit_code=2,
    )  # fmt: skip
    assert [(change.text, change.level) for change in _of_jobs([job, ended])] == [
        ("make runs", "plain"),
        ("make: exited 2", "warning"),
    ]


def test_an_alert_and_its_end_are_changes() -> None:
    """Both link to the page of alerts."""
    over = alert("rack7", resolved_at=NOW, reason="recovered")
    assert [(change.text, change.level, change.href) for change in _of_alerts([over])] == [
        ("busy: rack7: cpu is 97.0 %", "bad", "/console/alerts"),
        ("busy: rack7 is over (recovered)", "good", "/console/alerts"),
    ]
