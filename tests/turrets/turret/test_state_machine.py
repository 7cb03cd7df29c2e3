"""The state machine of a turret: histories of orders, connections and its own cannons."""

from __future__ import annotations

import random
import re
from pathlib import Path
from typing import Any

import pytest

from smartmob.turrets.protocol import Briefing, Order, RunBriefing
from smartmob.turrets.turret.state_machine import (
    STATES,
    Acknowledge,
    Action,
    ConnectionChanged,
    Discard,
    Event,
    ExitProgram,
    FiringEnded,
    Flush,
    Notify,
    OrderCame,
    Quit,
    Repeat,
    SendStatus,
    StartFiring,
    StopFiring,
    Tick,
    TurretFailed,
    TurretMachine,
)

UUID = "turret-1"
PAGE = Path(__file__).parents[3] / "docs" / "reference" / "turret-protocol.md"


class History:
    """A turret, its actions so far, and the time."""

    def __init__(self) -> None:
        self.machine = TurretMachine(UUID, patience=60.0)
        self.now = 1000.0
        self.actions: list[Action] = []

    def at(self, seconds: float, event: Event) -> list[Action]:
        """Let something happen so many seconds after the beginning; return what is done, without talk."""
        self.now = 1000.0 + seconds
        done = self.machine.handle(event, self.now)
        self.actions += done
        return [action for action in done if not isinstance(action, Notify | SendStatus)]

    def wait(self, until: float) -> list[Action]:
        """Let time pass as the program does: a Tick at each deadline. Repetitions are left out."""
        done: list[Action] = []
        while self.machine.deadline <= 1000.0 + until:
            done += self.at(max(self.machine.deadline, self.now + 0.001) - 1000.0, Tick())
        return [action for action in done if not isinstance(action, Repeat)]


def oct_order(command: str, msg: Any = None) -> OrderCame:
    """Return an order of a headquarters of OCT."""
    return OrderCame(Order(command=command, msg=msg))


def smartmob_order(run: RunBriefing | None, acknowledged: int = 0, command: str = "status_request") -> OrderCame:
    """Return an order of a headquarters of smartmob."""
    numbers = {UUID: acknowledged} if acknowledged else {}
    brief = Briefing(protocol=1, headquarters="h", run=run, acknowledged=numbers)
    return OrderCame(Order(command=command, smartmob=brief))


def run(starts_in: float, *, name: str = "r", seconds: float = 10.0, stopped: bool = False) -> RunBriefing:
    """Return the briefing of a run."""
    return RunBriefing(id=name, starts_in=starts_in, run_time=seconds, stopped=stopped)


@pytest.fixture(name="history")
def _history() -> History:
    """Return a turret that is connected and ready."""
    made = History()
    made.at(0, Tick())
    made.at(0, ConnectionChanged(connected=True))
    return made


def test_a_briefing_gives_a_rate() -> None:
    """The cannons fire by it; a turret that is left out of the shares fires nothing."""
    for rates, rate in (({UUID: 5.0}, 5.0), ({"another": 5.0}, 0.0), (None, None)):
        made = History()
        made.at(0, ConnectionChanged(connected=True))
        started = made.at(1, smartmob_order(RunBriefing(id="r", starts_in=0.0, run_time=10.0, rates=rates)))
        assert [action.rate for action in started if isinstance(action, StartFiring)] == [rate]


class TestOct:
    """With a headquarters of OCT."""

    def test_a_run_of_oct_is_started_and_stopped(self, history: History) -> None:
        """With its context; afterwards the turret is ready for the next run, with empty queues."""
        history.at(1, oct_order("set_transaction_context", {"token": "t"}))
        assert history.at(2, oct_order("start", "open fire")) == [
            StartFiring(None, 1002.0, float("inf"), raw=True, numbered=False, context={"token": "t"})
        ]
        assert history.machine.condition == "Running"
        assert history.at(30, oct_order("stop", "premature stop")) == [StopFiring(at_once=False)]
        assert history.at(31, FiringEnded(0)) == [Flush()]
        assert history.machine.condition == "ready"
        assert history.at(40, oct_order("start")) != []

    def test_each_order_is_answered_by_a_status(self, history: History) -> None:
        """Such a headquarters counts its turrets by them."""
        history.actions.clear()
        history.at(1, oct_order("status_request"))
        history.at(1.1, oct_order("anything", None))
        assert [type(action) for action in history.actions] == [SendStatus, SendStatus]

    def test_a_second_start_changes_nothing(self, history: History) -> None:
        """While the turret fires."""
        history.at(1, oct_order("start"))
        assert history.at(2, oct_order("start")) == []

    def test_a_stop_without_a_run_changes_nothing(self, history: History) -> None:
        """The turret stays ready."""
        assert history.at(1, oct_order("stop")) == []

    def test_a_status_is_sent_every_two_seconds(self, history: History) -> None:
        """A headquarters that is started later finds the turret."""
        history.actions.clear()
        history.wait(10)
        assert len([action for action in history.actions if isinstance(action, SendStatus)]) == 5

    def test_firing_ends_without_a_headquarters_after_the_patience(self, history: History) -> None:
        """One that comes back in time changes nothing."""
        history.at(1, oct_order("start"))
        history.at(5, ConnectionChanged(connected=False))
        history.at(20, ConnectionChanged(connected=True))
        assert history.wait(300) == []
        history.at(301, ConnectionChanged(connected=False))
        assert history.wait(400) == [StopFiring(at_once=False)]

    def test_an_invalid_context_is_ignored(self, history: History) -> None:
        """The next run has an empty one."""
        history.at(1, oct_order("set_transaction_context", None))
        (fire,) = history.at(2, oct_order("start"))
        assert isinstance(fire, StartFiring)
        assert fire.context == {}


class TestSmartmob:
    """With a headquarters of smartmob, whose orders describe a state."""

    def test_a_run_is_fired_and_delivered_once(self, history: History) -> None:
        """Announced, started in time, ended by itself, delivered, acknowledged; and not begun again."""
        assert history.at(1, smartmob_order(run(3.0))) == []
        assert history.wait(3.74) == []
        (fire,) = history.wait(3.9)
        assert fire == StartFiring("r", 1004.0, 1014.0, raw=False, numbered=True, context={})
        assert history.at(5, smartmob_order(run(-1.0), 1)) == [Acknowledge(1)]
        assert history.wait(14.1) == [StopFiring(at_once=False)]
        assert history.at(14.2, FiringEnded(3)) == []
        assert history.machine.reported == ("r", 3, 1)
        assert history.at(15, smartmob_order(run(-11.0), 3)) == [Acknowledge(3)]
        assert history.machine.condition == "ready"
        assert history.machine.reported == ("r", 3, 3)
        assert history.at(16, smartmob_order(run(-12.0), 3)) == []

    def test_the_earliest_announced_start_counts(self, history: History) -> None:
        """A delayed briefing cannot delay the start."""
        history.at(1, smartmob_order(run(5.0)))
        history.at(3, smartmob_order(run(2.0)))
        (fire,) = history.wait(5)
        assert isinstance(fire, StartFiring)
        assert fire.start == 1005.0

    def test_a_late_turret_fires_at_once(self, history: History) -> None:
        """Times count from the start of the run."""
        (fire,) = history.at(1, smartmob_order(run(-4.0)))
        assert isinstance(fire, StartFiring)
        assert (fire.start, fire.end) == (997.0, 1007.0)

    def test_a_run_that_is_over_is_not_started(self, history: History) -> None:
        """The headquarters need not wait for this turret."""
        assert history.at(1, smartmob_order(run(-20.0))) == []
        assert history.machine.reported == ("r", 0, 0)

    def test_a_lost_order_is_replaced_by_the_next_briefing(self, history: History) -> None:
        """No order `start` is needed."""
        history.at(1, smartmob_order(None))
        assert len(history.at(9, smartmob_order(run(-0.5)))) == 1

    def test_a_briefing_stops_a_run(self, history: History) -> None:
        """Each briefing says it as long as the run exists."""
        history.at(1, smartmob_order(run(0.0, seconds=100)))
        assert history.at(5, smartmob_order(run(-4.0, seconds=100, stopped=True))) == [StopFiring(at_once=False)]
        assert history.at(6, smartmob_order(run(-5.0, seconds=100, stopped=True))) == []
        history.at(6.5, FiringEnded(2))
        assert history.machine.reported == ("r", 2, 0)

    def test_a_run_stopped_before_its_start_is_not_fired(self, history: History) -> None:
        """That is final."""
        history.at(1, smartmob_order(run(5.0)))
        assert history.at(2, smartmob_order(run(4.0, stopped=True))) == []
        assert history.wait(20) == []
        assert history.machine.reported == ("r", 0, 0)

    def test_a_stop_during_rampup_ends_all_cannons(self, history: History) -> None:
        """Those that have not started as well."""
        history.at(1, smartmob_order(run(0.0)))
        assert history.at(1.5, smartmob_order(run(-0.5, stopped=True), command="stop")) == [StopFiring(at_once=False)]

    def test_unacknowledged_results_are_dropped_after_the_patience(self, history: History) -> None:
        """The run goes on to its end, and its results are repeated until then."""
        history.at(1, smartmob_order(run(0.0, seconds=100)))
        history.at(3, ConnectionChanged(connected=False))
        assert StopFiring(at_once=False) not in history.wait(100)
        assert StopFiring(at_once=False) in history.wait(102)
        history.at(102, FiringEnded(50))
        assert Discard(lost=True) not in history.wait(125)
        assert Discard(lost=True) in history.wait(170)
        assert history.machine.condition == "ready"

    def test_a_run_continues_when_the_headquarters_restarts(self, history: History) -> None:
        """Unacknowledged messages are sent again."""
        history.at(1, smartmob_order(run(0.0, seconds=100)))
        history.at(3, smartmob_order(run(-2.0, seconds=100), 2))
        history.at(4, ConnectionChanged(connected=False))
        assert history.at(9, ConnectionChanged(connected=True)) == [Repeat()]
        assert history.at(10, smartmob_order(run(-9.0, seconds=100), 2)) == []
        assert history.machine.condition == "Running"

    def test_a_run_that_the_headquarters_lost_ends_at_once(self, history: History) -> None:
        """Its results are dropped."""
        history.at(1, smartmob_order(run(0.0)))
        assert history.at(4, smartmob_order(None)) == [StopFiring(at_once=True)]
        assert history.at(5, smartmob_order(None)) == []
        assert history.at(5.1, FiringEnded(4)) == [Discard(lost=False)]
        assert history.machine.condition == "ready"

    def test_another_run_ends_the_first_one(self, history: History) -> None:
        """The new one begins with the briefing after that."""
        history.at(1, smartmob_order(run(0.0)))
        assert history.at(4, smartmob_order(run(3.0, name="s"))) == [StopFiring(at_once=True)]
        history.at(4.2, FiringEnded(4))
        assert history.at(5, smartmob_order(run(2.0, name="s"))) == []
        (fire,) = history.wait(7.5)
        assert isinstance(fire, StartFiring)
        assert (fire.run, fire.start) == ("s", 1007.0)

    def test_another_run_replaces_an_announced_one(self, history: History) -> None:
        """Nothing is fired for the first one."""
        history.at(1, smartmob_order(run(60.0)))
        assert history.at(2, smartmob_order(run(60.0, name="s"))) == [Discard(lost=False)]
        history.at(3, smartmob_order(run(0.0, name="s")))
        assert history.machine.reported[0] == "s"

    def test_a_headquarters_of_oct_ends_the_run(self, history: History) -> None:
        """It gets the documented messages only."""
        history.at(1, smartmob_order(run(0.0)))
        assert history.at(4, oct_order("status_request")) == [StopFiring(at_once=True)]
        assert not history.machine.smartmob_hq

    def test_only_rising_acknowledgements_of_this_turret_count(self, history: History) -> None:
        """Those of other uuids are ignored."""
        history.at(1, smartmob_order(run(0.0)))
        brief = Briefing(protocol=1, headquarters="h", run=run(-1.0), acknowledged={"another": 9})
        assert history.at(2, OrderCame(Order(command="status_request", smartmob=brief))) == []
        assert history.at(3, smartmob_order(run(-2.0), 5)) == [Acknowledge(5)]
        assert history.at(4, smartmob_order(run(-3.0), 4)) == []

    def test_repetitions_have_growing_distances(self, history: History) -> None:
        """After 5 seconds without progress, then after 10, and so on, however often orders come and are answered."""
        history.at(1, smartmob_order(run(0.0, seconds=1000)))
        times = []
        for second in range(2, 100):
            history.at(second, smartmob_order(run(1.0 - second, seconds=1000)))
            history.actions.clear()
            history.wait(second + 0.5)
            if Repeat() in history.actions:
                times.append(second)
        assert times == [6, 16, 36, 76]

    def test_a_late_briefing_does_not_move_the_start(self, history: History) -> None:
        """Announcements are relative; only an earlier start counts."""
        source = random.Random(3)
        history.at(1, smartmob_order(run(10.0)))
        for second in range(2, 9):
            history.at(second, smartmob_order(run(11.0 - second + source.uniform(0, 3))))
        (fire,) = history.wait(11)
        assert isinstance(fire, StartFiring)
        assert fire.start == 1011.0


class TestTheEnd:
    """The end of a turret."""

    def test_kill_ends_a_ready_turret(self, history: History) -> None:
        """With the status Killed."""
        assert history.at(1, oct_order("kill")) == [ExitProgram(0)]
        assert history.machine.condition == "Killed"

    def test_kill_ends_the_cannons_first(self, history: History) -> None:
        """Their results are final."""
        history.at(1, smartmob_order(run(0.0)))
        assert history.at(3, smartmob_order(run(-2.0), command="kill")) == [StopFiring(at_once=True)]
        assert history.at(3.1, FiringEnded(7)) == [ExitProgram(0)]
        assert history.machine.reported == ("r", 7, 0)

    def test_a_second_request_does_not_wait(self, history: History) -> None:
        """The turret exits before its cannons have ended."""
        history.at(1, oct_order("start"))
        assert history.at(2, Quit()) == [StopFiring(at_once=True)]
        assert history.at(3, Quit()) == [ExitProgram(0)]

    def test_an_error_of_the_turret_is_reported(self, history: History) -> None:
        """As Aborted, with the reason, before the exit with 1."""
        history.at(1, smartmob_order(run(0.0)))
        assert history.at(2, TurretFailed("no more threads")) == [StopFiring(at_once=True)]
        assert (history.machine.condition, history.machine.reason) == ("Aborted", "no more threads")
        assert history.at(3, FiringEnded(1)) == [ExitProgram(1)]

    def test_an_ending_turret_starts_nothing(self, history: History) -> None:
        """Orders are only answered."""
        history.at(1, smartmob_order(run(0.0)))
        history.at(2, Quit())
        assert history.at(3, smartmob_order(run(0.0, name="s"))) in ([], [StopFiring(at_once=True)])
        assert history.at(4, oct_order("start")) in ([], [StopFiring(at_once=True)])
        assert history.at(5, FiringEnded(1)) == [ExitProgram(0)]


@pytest.mark.parametrize("seed", range(200))
def test_each_run_is_fired_once_and_ended(seed: int) -> None:
    """Whatever events come in whatever order."""
    source = random.Random(seed)
    history = History()
    firing, fired = False, []
    for step in range(60):
        events: list[Event] = [
            Tick(),
            smartmob_order(None),
            smartmob_order(run(source.uniform(-15, 5), name=source.choice("ab"), stopped=source.random() < 0.2)),
            smartmob_order(run(source.uniform(-15, 5), name=source.choice("ab")), source.randrange(5)),
            oct_order(source.choice(["start", "stop", "status_request", "set_transaction_context"])),
            ConnectionChanged(connected=source.random() < 0.5),
        ]
        if firing:
            events.append(FiringEnded(source.randrange(5)))
        event = source.choice(events)
        for action in history.at(step * source.uniform(0.5, 1.0) + step, event):
            if isinstance(action, StartFiring):
                assert not firing
                firing = True
                fired.append(action.run)
        if isinstance(event, FiringEnded):
            firing = False
    assert (history.machine.state in ("firing", "stopping")) == firing
    known = [name for name in fired if name is not None]
    assert len(known) == len(set(known))


def _transitions(seed: int) -> set[tuple[str, str]]:
    """Return the changes of state in a random history that may end early."""
    source = random.Random(seed)
    history = History()
    found, firing = set(), False
    for step in range(50):
        events: list[Event] = [
            Tick(),
            smartmob_order(None),
            smartmob_order(run(source.uniform(-15, 5), name=source.choice("ab"), stopped=source.random() < 0.2)),
            smartmob_order(run(source.uniform(-15, 5), name=source.choice("ab")), source.randrange(5)),
            oct_order(source.choice(["start", "stop", "status_request"])),
        ]
        if source.random() < 0.05:
            events = [Quit(), TurretFailed("no more threads"), oct_order("kill")]
        elif firing and source.random() < 0.3:
            events = [FiringEnded(source.randrange(5))]
        event, before = source.choice(events), history.machine.state
        actions = history.at(step * 3 + source.uniform(0, 1), event)
        firing = any(isinstance(action, StartFiring) for action in actions) or (
            firing and not isinstance(event, FiringEnded)
        )
        found.add((before, history.machine.state))
    return {(before, after) for before, after in found if before != after}


def test_the_reference_lists_states_and_transitions() -> None:
    """The tables in the reference have the states with their meaning, and every transition of 2,000 histories."""
    section = PAGE.read_text(encoding="utf-8").partition("## States of a turret")[2]
    listed = re.findall(r"(?m)^\| `(\w+)` \| `(\w+)` \|", section)
    assert dict(re.findall(r"(?m)^\| `(\w+)` \| ([^`|]+\.) \|$", section)) == STATES
    assert len(listed) == len(set(listed))
    assert set(listed) == set().union(*(_transitions(seed) for seed in range(2000)))


class TestOnce:
    """A turret that ends after its first run, as a pod of a job does."""

    @pytest.fixture(name="pod")
    def _pod(self) -> History:
        history = History()
        history.machine.once = True
        return history

    def test_it_ends_with_0_when_the_last_number_is_confirmed(self, pod: History) -> None:
        """Not before, whether the last acknowledgement comes with the run or after its end."""
        for last in (run(0.0), None):
            history = History()
            history.machine.once = True
            history.at(0.0, smartmob_order(run(0.0)))
            history.at(10.0, smartmob_order(run(0.0, stopped=True)))
            assert history.at(10.1, FiringEnded(3)) == []
            assert history.at(10.2, smartmob_order(run(0.0, stopped=True), 2)) == [Acknowledge(2)]
            assert history.at(10.3, smartmob_order(last, 3)) == [Acknowledge(3), ExitProgram(0)]

    def test_it_ends_with_1_when_results_are_not_confirmed(self, pod: History) -> None:
        """After its patience, or when the headquarters no longer has the run."""
        pod.at(0.0, smartmob_order(run(0.0)))
        pod.at(10.0, smartmob_order(run(0.0, stopped=True)))
        pod.at(10.1, FiringEnded(3))
        assert ExitProgram(1) in pod.wait(120.0)
        second = History()
        second.machine.once = True
        second.at(0.0, smartmob_order(run(0.0)))
        second.at(1.0, smartmob_order(None))
        assert second.at(1.1, FiringEnded(3)) == [Discard(lost=False), ExitProgram(1)]

    def test_it_waits_for_its_first_run(self, pod: History) -> None:
        """A run that is stopped before it fires leaves nothing to confirm."""
        assert pod.at(0.0, smartmob_order(None)) == []
        pod.at(1.0, smartmob_order(run(5.0)))
        assert pod.at(2.0, smartmob_order(run(4.0, stopped=True))) == [ExitProgram(0)]

    def test_a_headquarters_of_oct_confirms_nothing(self, pod: History) -> None:
        """The exit code says so."""
        pod.at(0.0, oct_order("start"))
        pod.at(1.0, oct_order("stop"))
        assert pod.at(1.1, FiringEnded(0)) == [Flush(), ExitProgram(1)]
