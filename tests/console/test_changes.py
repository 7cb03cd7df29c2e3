"""The texts and levels of changes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from smartmob.commands.model import Job
from smartmob.console.changes import MANY, _of_alerts, _of_jobs, _of_processes, grouped
from smartmob.console.model import Change
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
        ("make is running", "plain"),
        ("make: exited 2", "warning"),
    ]


def test_an_alert_and_its_end_are_changes() -> None:
    """Both link to the page of alerts."""
    over = alert("rack7", resolved_at=NOW, reason="recovered")
    assert [(change.text, change.level, change.href) for change in _of_alerts([over])] == [
        ("busy: rack7: cpu is 97.0 %", "bad", "/console/alerts"),
        ("busy: rack7 is resolved (recovered)", "good", "/console/alerts"),
    ]


def _crashes(count: int) -> list[Change]:
    kinds = [("started", "started, pid 5"), ("exited", "exited 3"), ("backoff", "restarting in 1 s")]
    events = [
        ProcessEvent(slug="a", at=NOW + timedelta(minutes=n), kind=kind, detail={"text": text, "status": 3})
        for n in range(count)
        for kind, text in kinds
    ]
    return list(_of_processes(events))


def test_a_program_that_crashes_again_and_again_is_one_line() -> None:
    """Its events are one change with their number, the last of them, the worst level and the first time."""
    created = Change(at=NOW, kind="process", text="a: created", href="/console/processes/a")
    (first, many) = grouped([created, *_crashes(14)])
    assert first == created
    assert (many.text, many.count) == ("a restarted 14 times; last: restarting in 1 s", 14)
    assert (many.level, many.href) == ("warning", "/console/processes/a")
    assert (many.since, many.at) == (NOW, NOW + timedelta(minutes=13))


def test_few_changes_are_listed_one_by_one() -> None:
    """Nothing is grouped below the number from which on a list is flooded, and a command that is repeated is."""
    assert len(grouped(_crashes(2))) == 6
    jobs = [Change(at=NOW, kind="job", text="make: exited 0", topic="job make: exited 0")] * MANY
    assert [change.text for change in grouped(jobs)] == [f"make: exited 0 ({MANY} times)"]
    assert len(grouped(jobs[1:])) == MANY - 1
