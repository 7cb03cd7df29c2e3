"""The changes of a turret by its statuses."""

from __future__ import annotations

import pytest

from smartmob.turrets.hq.machine_events import Committed
from smartmob.turrets.hq.member_changes import new_member, updated_member
from smartmob.turrets.protocol import Report, Status
from tests.turrets.histories import NOON, RUN, History, kept, oct_turret, ours

FULL = Status(turret="nav", status="ready", uuid="u1", rampup=1.0, script="v.py", cannons=5.0)


@pytest.mark.parametrize(
    "status",
    [
        Status(status="Running", uuid="u1"),
        Status(turret="nav", status="Running", uuid="u1", script="v.py"),
        Status(status="Running", uuid="u1", cannons=5.0, rampup=1.0),
    ],
)
def test_a_status_may_leave_out_what_a_former_one_told(status: Status) -> None:
    """The turret keeps it, and is not taken for two."""
    member = updated_member(new_member(FULL, NOON), status, None, NOON)
    assert (member.name, member.script, member.cannons, member.rampup) == ("nav", "v.py", 5, 1.0)
    assert (member.status, member.twice) == ("Running", False)


def test_a_later_status_may_tell_more() -> None:
    """The first one had only the uuid."""
    member = updated_member(new_member(Status(status="ready", uuid="u1"), NOON), FULL, None, NOON)
    assert (member.name, member.script, member.cannons, member.twice) == ("nav", "v.py", 5, False)


@pytest.mark.parametrize("changes", [{"turret": "other"}, {"script": "w.py"}, {"cannons": 6.0}, {"rampup": 2.0}])
def test_two_turrets_with_one_uuid_and_different_settings(changes: dict[str, object]) -> None:
    """A turret never changes them."""
    other = Status(**{"turret": "nav", "status": "ready", "uuid": "u1", **changes})  # type: ignore[arg-type]  # a mix
    assert updated_member(new_member(FULL, NOON), other, None, NOON).twice


def test_two_turrets_with_one_uuid_on_two_machines() -> None:
    """A copied machine keeps the uuid and has another name."""
    reports = [Report(protocol=2, version="1", host=host, run=None) for host in ("rack1", "rack2")]
    first, second = (Status(turret="nav", status="ready", uuid="u1", smartmob=report) for report in reports)
    member = updated_member(new_member(first, NOON), first, None, NOON)
    assert not member.twice
    assert updated_member(member, second, None, NOON).twice


def test_a_clone_on_one_machine_is_told_by_its_counts() -> None:
    """The counts of one turret never fall; one report may have been overtaken by another."""
    history = History()
    history.ask()
    history.tell(ours("ready"))
    for transactions in (10, 12, 11, 13):
        history.tell(ours("Running", run=RUN, transactions=transactions))
    assert not history.member().twice
    history.tell(ours("Running", run=RUN, transactions=2))
    assert history.member().twice


def test_a_turret_that_died_before_the_start_is_not_counted_in() -> None:
    """It was ready after the request, but does not answer any more; the run waits for another one."""
    history = History()
    history.ask(min_turrets=2)
    history.tell(ours("ready", "dead"))
    history.pass_time(4)
    history.tell(ours("ready", "alive"))
    assert history.state == "waiting"
    history.tell(ours("ready", "third"))
    assert history.state == "running"
    assert sorted(member.uuid for member in history.machine.members()) == ["alive", "third"]


def test_a_turret_that_was_heard_only_before_the_request_is_no_member() -> None:
    """The report would show it as lost."""
    history = History()
    history.tell(ours("ready", "dead"))
    history.after(2)
    history.ask()
    history.after(0.1)
    history.tell(ours("ready", "alive"))
    assert [member.uuid for member in history.machine.members()] == ["alive"]


def test_a_finished_run_shows_its_turrets_as_ready() -> None:
    """The last status that came before the acknowledgement of the last result said that they were running."""
    history = History()
    history.ask(run_time=2.0)
    history.tell(ours("ready"))
    history.pass_time(3, ours("Running", run=RUN))
    assert history.state == "draining"
    history.tell(ours("Running", run=RUN, sequence=3, final=True))
    history.tell(Committed("u1", RUN, 3))
    actions = history.tick(1.0)
    assert history.state == "finished"
    assert (history.member().status, kept(actions)[-1].status) == ("ready", "ready")


def test_names_are_printable() -> None:
    """Control characters and marks of direction in names do not reach a terminal."""
    history = History()
    history.tell(oct_turret("re\x1b[2Jady", "u1", name="nav\u202e\x9b"))
    (member,) = history.machine.members()
    assert (member.name, member.status) == ("nav\ufffd\ufffd", "re\ufffd[2Jady")
