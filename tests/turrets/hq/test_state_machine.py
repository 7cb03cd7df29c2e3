"""The decisions of the headquarters in histories of turrets that come late, die or come back, and of clock changes."""

from __future__ import annotations

import sys
from datetime import timedelta
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.turrets.hq.machine_events import Committed, Publish, ResultsReceived, Stalled, StopRequested
from smartmob.turrets.hq.state_machine import ORDER_SECONDS, TRANSITIONS
from smartmob.turrets.model import ENDED, STATES
from smartmob.turrets.protocol import MOST_TURRETS, encode_order
from tests.turrets.histories import (
    NOON,
    RUN,
    History,
    briefings,
    health,
    kept,
    last_run,
    lost,
    oct_turret,
    orders,
    ours,
    running,
    states,
)

ALLOWED = {(state, following) for state, all_following in TRANSITIONS.items() for following in all_following}


def _transitions(history: History) -> set[tuple[str, str]]:
    """Return the pairs of states that followed each other in one run."""
    return set(pairwise(states(history.said)))


class TestWaiting:
    """From the request to the start."""

    def test_a_new_run_asks_for_statuses(self) -> None:
        """No turret is started before all were asked."""
        assert orders(History().ask()) == ["status_request"]

    def test_the_spelling_of_the_seed_means_that_a_turret_fires(self) -> None:
        """Seed 004 writes RUNING: such a turret is not ready, and gets no further start."""
        history = running()
        history.tell(oct_turret("RUNING", "u2"))
        history.after(1)
        assert orders(history.tell(oct_turret("RUNING", "u1"))) == []
        assert history.machine.members()[1].status == "RUNING"
        history = History()
        history.ask()
        assert orders(history.tell(oct_turret("RUNING"))) == []
        assert orders(history.tell(oct_turret("ready"))) == ["start"]

    def test_a_status_from_before_the_request_does_not_count(self) -> None:
        """A status that was queued before does not show that the turret gets orders."""
        history = History()
        history.tell(oct_turret("ready"))
        history.after(1)
        assert states(history.ask()) == ["waiting"]
        assert history.state == "waiting"
        history.after(0.1)
        assert orders(history.tell(oct_turret("ready"))) == ["start"]

    def test_the_run_starts_when_enough_turrets_are_ready(self) -> None:
        """One turret does not start a run that needs two."""
        history = History()
        history.ask(min_turrets=2)
        assert states(history.tell(oct_turret("ready", "u1"))) == []
        assert states(history.tell(oct_turret("ready", "u1"))) == []
        actions = history.tell(oct_turret("READY", "u2"))
        assert states(actions) == ["running"]
        assert {member.uuid for member in kept(actions)} == {"u1", "u2"}

    def test_any_status_but_running_and_ended_is_ready(self) -> None:
        """A status may be any text."""
        for status, starts in (("WAITING", True), ("Initialized", True), ("rUNNING", False), ("Aborted", False)):
            history = History()
            history.ask()
            assert bool(states(history.tell(oct_turret(status)))) is starts, status

    def test_statuses_are_requested_at_most_once_a_second(self) -> None:
        """turrets of OCT answer each request, and a ready one each order."""
        history = History()
        history.ask(min_turrets=9)
        sent = [history.tick(0.25) for _ in range(40)]
        assert sum(len(orders(actions)) for actions in sent) == 10
        for _ in range(20):
            assert orders(history.tell(oct_turret("ready"))) == []

    def test_turrets_of_ours_are_told_of_the_start_before_it(self) -> None:
        """All turrets know the time of the start by a briefing that counts from its sending."""
        history = History()
        history.ask()
        actions = history.tell(ours("ready"))
        assert orders(actions) == ["status_request"]
        (briefing,) = briefings(actions)
        assert briefing.run is not None
        assert (briefing.run.id, briefing.run.starts_in, briefing.run.run_time) == (RUN, 0.5, 20.0)
        assert last_run(actions).started_at == NOON + timedelta(seconds=0.5)
        assert orders(history.tick(0.3)) == []
        assert orders(history.tick(0.2)) == ["start"]

    def test_the_context_comes_before_the_start(self) -> None:
        """A turret of OCT ends with an error at a context that is null, so without a context there is no order."""
        history = History()
        history.ask(transaction_context={"user": "me"})
        actions = history.tell(oct_turret("ready"))
        assert orders(actions) == ["set_transaction_context", "start"]
        assert next(action.order.msg for action in actions if isinstance(action, Publish)) == {"user": "me"}

    def test_a_run_fails_when_turrets_do_not_come(self) -> None:
        """The reason says how many came."""
        history = History()
        history.ask(min_turrets=2, wait=10)
        actions = history.pass_time(11, oct_turret("ready"))
        assert history.state == "failed"
        assert last_run(actions).reason == "only 1 of 2 turrets became ready within 10 s"

    def test_a_silent_turret_does_not_count_as_ready(self) -> None:
        """It is forgotten before the run starts."""
        history = History()
        history.ask(min_turrets=2)
        history.tell(oct_turret("ready", "gone"))
        history.pass_time(7)
        assert [member.uuid for member in history.machine.members()] == []
        history.tell(oct_turret("ready", "u1"))
        assert history.state == "waiting"

    def test_a_turret_that_still_fires_is_stopped_first(self) -> None:
        """It counts as ready only afterwards."""
        history = History()
        history.tell(oct_turret("Running"))
        history.after(1)
        assert orders(history.ask()) == ["stop", "status_request"]
        assert states(history.tell(oct_turret("Running"))) == []
        assert states(history.tell(oct_turret("ready"))) == ["running"]

    def test_a_waiting_run_is_stopped_at_once(self) -> None:
        """No turret has fired, so no order is needed."""
        history = History()
        history.ask()
        actions = history.tell(StopRequested("enough"))
        assert (states(actions), orders(actions)) == (["stopped"], [])
        assert last_run(actions).reason == "enough"


class TestFiring:
    """From the start to the end of the time."""

    def test_the_stop_is_sent_when_the_time_is_up(self) -> None:
        """The times of the ticks do not matter."""
        history = running()
        history.pass_time(19, oct_turret("Running"))
        assert orders(history.tick(0.9)) == []
        actions = history.tick(0.1)
        assert (orders(actions), states(actions)) == (["stop"], ["draining"])

    def test_a_late_turret_is_started(self) -> None:
        """Turrets that fire ignore the order."""
        history = running()
        history.pass_time(5, oct_turret("Running"))
        history.tell(oct_turret("ready", "late"))
        assert orders(history.tick(1.0)) == ["start", "status_request"]
        history.tell(oct_turret("Running", "late"))
        history.tell(oct_turret("Running"))
        assert orders(history.tick(1.0)) == ["status_request"]
        assert {member.uuid for member in history.machine.members()} == {"u1", "late"}

    def test_the_start_is_repeated_until_the_turret_fires(self) -> None:
        """A turret may have missed the order."""
        history = History()
        history.ask()
        history.tell(oct_turret("ready"))
        for _ in range(3):
            assert orders(history.tick(1.0)) == ["start", "status_request"]
            history.tell(oct_turret("ready"))
        history.tell(oct_turret("Running"))
        assert orders(history.tick(1.0)) == ["status_request"]

    def test_a_turret_that_comes_back_is_no_longer_lost(self) -> None:
        """It was lost from its last status to its next one."""
        history = running()
        history.pass_time(2, oct_turret("Running"))
        silent_since = history.wall
        actions = history.pass_time(6)
        assert lost(actions) == ["u1"]
        assert not history.member().alive
        assert history.member().lost[0].since == silent_since
        history.tell(oct_turret("Running"))
        assert history.member().alive
        assert (history.member().lost[0].until, len(history.member().lost)) == (history.wall, 1)

    def test_a_restarted_turret_is_a_new_one(self) -> None:
        """It has another uuid: the old turret is lost, the new one is started."""
        history = running("old")
        history.pass_time(7, oct_turret("ready", "new"))
        assert not history.member("old").alive
        assert history.member("new").alive
        assert "start" in orders(history.tick(1.0))

    def test_a_uuid_of_two_turrets_is_noticed(self) -> None:
        """A turret never changes its name, so two names mean two turrets."""
        history = running()
        assert not history.member().twice
        history.tell(oct_turret("Running", name="other"))
        assert history.member().twice

    def test_setting_the_clock_changes_no_deadline(self) -> None:
        """The run lasts its seconds, and no turret is lost."""
        for jump in (timedelta(hours=-5), timedelta(days=3)):
            history = running()
            history.pass_time(5, oct_turret("Running"))
            history.wall += jump
            actions = history.pass_time(14, oct_turret("Running"))
            assert (history.state, lost(actions)) == ("running", [])
            history.tick(1.0)
            assert history.state == "draining"
            assert history.machine.firing_seconds(history.now()) == pytest.approx(20)

    def test_no_silence_is_counted_while_the_headquarters_stood_still(self) -> None:
        """Messages of that time may not have been read yet: no turret is lost, and no result comes too late."""
        history = running()
        history.after(60)
        history.tell(Stalled(60.0))
        assert lost(history.tick()) == []
        assert history.state == "draining"
        history.after(60)
        history.tell(Stalled(60.0))
        history.tick()
        assert history.state == "draining"
        history.pass_time(3, oct_turret("ready"))
        assert history.state == "finished"

    def test_an_order_that_came_due_since_the_last_tick_is_sent_at_once(self) -> None:
        """Otherwise no order would be sent until the end of the run, not even the start of a late turret."""
        history = running()
        history.tick(ORDER_SECONDS - 0.1)
        history.after(0.2)
        assert history.machine.seconds_to_next_tick(history.now()) == 0
        assert orders(history.tick()) == ["status_request"]
        assert 0 < history.machine.seconds_to_next_tick(history.now()) <= ORDER_SECONDS

    def test_the_worst_health_is_kept(self) -> None:
        """Later and better values do not replace it."""
        history = History()
        history.ask()
        history.tell(ours("ready"))
        history.tick(0.5)
        history.tell(ours("Running", run=RUN, health=health(0.99, 0.3)))
        history.tell(ours("Running", run=RUN, health=health(0.2, 0.01)))
        assert (history.member().busiest, history.member().lag) == (0.99, 0.3)


class TestDraining:
    """From the stop to the end."""

    def test_a_stop_is_sent_at_once_and_repeated(self) -> None:
        """It is repeated until the turret has obeyed, and the run ends as stopped."""
        history = running()
        actions = history.after(0.2).tell(StopRequested("enough"))
        assert (orders(actions), states(actions)) == (["stop"], ["draining"])
        assert orders(history.tick(1.0)) == ["stop", "status_request"]
        history.tell(oct_turret("ready"))
        history.pass_time(3, oct_turret("ready"))
        assert history.state == "stopped"

    def test_oct_turrets_are_waited_for_until_they_are_quiet(self) -> None:
        """Each further result begins the quiet time anew."""
        history = running()
        history.pass_time(20, oct_turret("Running"))
        history.tell(oct_turret("ready"))
        history.after(1.5).tell(ResultsReceived())
        history.tick(0.6)
        assert history.state == "draining"
        history.tick(1.4)
        assert history.state == "finished"

    def test_a_run_ends_only_when_everything_is_stored(self) -> None:
        """Rows that are not committed keep it draining."""
        history = running()
        history.pass_time(20, oct_turret("Running"))
        history.tell(oct_turret("ready"))
        history.tick(4.0, pending=1)
        assert history.state == "draining"
        history.tick(0.1)
        assert history.state == "finished"

    def test_a_run_of_ours_ends_with_the_last_number(self) -> None:
        """It ends when the last number is stored, without a quiet time."""
        history = History()
        history.ask()
        history.tell(ours("ready"))
        history.tick(0.5)
        history.pass_time(20, ours("Running", run=RUN, sequence=40))
        assert history.state == "draining"
        history.tell(ours("Running", run=RUN, sequence=42, final=True))
        assert history.member().expected == 42
        history.tell(Committed("u1", RUN, 41))
        history.tick(0.1)
        assert history.state == "draining"
        history.tell(Committed("u1", RUN, 42))
        actions = history.tick(0.1)
        assert history.state == "finished"
        assert briefings(actions)[-1].acknowledged == {"u1": 42}

    def test_a_run_does_not_wait_for_a_lost_turret(self) -> None:
        """Without any turret left it fails."""
        history = running()
        history.pass_time(20, oct_turret("Running"))
        actions = history.pass_time(8)
        assert lost(actions) == ["u1"]
        assert history.state == "failed"
        assert last_run(history.said).reason == "no turret was left when the run ended"

    def test_draining_is_limited(self) -> None:
        """After `drain` seconds the run ends, and the reason names the missing turret."""
        history = running()
        history.pass_time(20, oct_turret("Running"))
        history.pass_time(31, oct_turret("Running"))
        assert history.state == "finished"
        assert "without waiting longer for nav" in str(last_run(history.said).reason)

    def test_a_turret_that_fires_without_a_run_is_stopped(self) -> None:
        """The order is sent at most once a second."""
        history = History()
        history.tell(oct_turret("Running"))
        sent = [orders(history.tick(0.25)) for _ in range(12)]
        assert sum(len(commands) for commands in sent) == 3
        assert {command for commands in sent for command in commands} == {"stop"}

    def test_the_next_run_begins_with_new_counts(self) -> None:
        """Connected turrets fire again; lost ones are forgotten."""
        history = running()
        history.tell(oct_turret("Running", "dead"))
        history.pass_time(20, oct_turret("Running"))
        history.tell(oct_turret("ready"))
        history.pass_time(3, oct_turret("ready"))
        assert history.state == "finished"
        history.ask()
        history.tell(oct_turret("ready"))
        assert history.state == "running"
        assert [(member.uuid, member.lost) for member in history.machine.members()] == [("u1", [])]


_EVENTS = st.one_of(
    st.builds(oct_turret, st.sampled_from(["ready", "Running", "Aborted", "?"]), st.sampled_from(["a", "b"])),
    st.builds(ours, st.sampled_from(["ready", "Running"]), st.just("c"), st.sampled_from([None, RUN, "other"])),
    st.builds(Committed, st.sampled_from(["a", "c", "x"]), st.sampled_from([RUN, "other"]), st.integers(0, 9)),
    st.builds(StopRequested, st.just("enough")),
    st.just(ResultsReceived()),
    st.floats(0.01, 7.0),
)


class TestWhateverComes:
    """Properties of every history."""

    @given(st.lists(_EVENTS, max_size=60), st.booleans())
    def test_orders_that_oct_turrets_survive(self, events: list[object], asked: bool) -> None:
        """Each order begins with a blank and has a `msg`, a context is never null, and transitions are allowed ones."""
        history = History()
        if asked:
            history.ask(run_time=5.0)
        for event in events:
            if isinstance(event, float):
                history.tick(event)
            else:
                history.tell(event)
        for action in history.said:
            if isinstance(action, Publish):
                assert encode_order(action.order).startswith(b' {"command":')
                assert b'"msg":' in encode_order(action.order)
        assert _transitions(history) <= ALLOWED
        assert sum(1 for state in states(history.said) if state in ENDED) <= 1


def test_every_transition_happens() -> None:
    """Each transition of the table in the code is made by some history."""
    finished, lost_turret, stopped = running(), running(), running()
    for history in (finished, lost_turret):
        history.pass_time(20, oct_turret("Running"))
    stopped.tell(StopRequested("enough"))
    for history in (finished, stopped):
        history.tell(oct_turret("ready"))
        history.pass_time(3, oct_turret("ready"))
    lost_turret.pass_time(8)
    stopped_early, timed_out = History(), History()
    stopped_early.ask()
    stopped_early.tell(StopRequested("enough"))
    timed_out.ask(wait=1)
    timed_out.pass_time(2)
    histories = (finished, lost_turret, stopped, stopped_early, timed_out)
    assert set().union(*(_transitions(history) for history in histories)) == ALLOWED


def _table(page: str, title: str) -> list[list[str]]:
    """Return the rows of the first table after a title, without its head."""
    part = page.partition(title)[2].partition("\n#")[0]
    return [
        [cell.strip().strip("`") for cell in line.strip("| ").split(" | ")]
        for line in part.splitlines()
        if line.startswith("| ")
    ][1:]


def test_the_states_and_transitions_are_documented() -> None:
    """The tables of the page list the states and transitions of the code."""
    page = (Path(__file__).parents[3] / "docs/reference/turret-protocol.md").read_text(encoding="utf-8")
    assert [row[0] for row in _table(page, "## States of a run")] == list(STATES)
    transitions = [(row[0], row[1]) for row in _table(page, "### Transitions")]
    assert set(transitions) == ALLOWED
    assert len(transitions) == len(ALLOWED)


def test_many_turrets_that_wait() -> None:
    """Each status takes the same work, however many turrets there are: thousands of new ones do not stall the loop."""
    history = History()
    history.ask(min_turrets=MOST_TURRETS)

    def calls(numbers: range) -> int:
        """Return how many functions are called for the first statuses of some turrets."""
        events: list[str] = []
        sys.setprofile(lambda _, event, __: events.append(event))
        try:
            for number in numbers:
                history.tell(oct_turret("ready", f"u{number}"))
        finally:
            sys.setprofile(None)
        return len(events)

    first = calls(range(500))
    calls(range(500, 5500))
    assert calls(range(5500, 6000)) < 1.5 * first
    assert len(history.machine.members()) == 6000


def test_turrets_beyond_a_number_are_left_out() -> None:
    """Statuses of known turrets are handled as before."""
    history = History()
    history.ask(min_turrets=MOST_TURRETS)
    for number in range(MOST_TURRETS + 10):
        history.tell(oct_turret("busy" if number == 0 else "ready", f"u{number}"))
    assert len(history.machine.members()) == MOST_TURRETS
    assert not history.machine.accepts("another")
    assert history.machine.accepts("u1")
    assert history.state == "running"
