"""Replayed histories: what a turret does when a headquarters, the network and its own cannons do all they can."""

from __future__ import annotations

import random
from typing import Any

import pytest

from smartmob.turrets.protocol import Briefing, Order, RunBriefing
from smartmob.turrets.turret.state_machine import (
    Acknowledge,
    Action,
    ConnectionChanged,
    Discard,
    Event,
    Exit,
    Failed,
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
    TurretMachine,
)

UUID = "turret-1"


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


def stock(command: str, msg: Any = None) -> OrderCame:
    """Return an order of a headquarters of OCT."""
    return OrderCame(Order(command=command, msg=msg))


def ours(run: RunBriefing | None, acknowledged: int = 0, command: str = "status_request") -> OrderCame:
    """Return an order of a headquarters of ours."""
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


class TestOct:
    """Under a headquarters of OCT."""

    def test_a_run(self, history: History) -> None:
        """Context, start and stop; afterwards the turret is ready for the next run, with empty queues."""
        history.at(1, stock("set_transaction_context", {"token": "t"}))
        assert history.at(2, stock("start", "open fire")) == [
            StartFiring(None, 1002.0, float("inf"), raw=True, numbered=False, context={"token": "t"})
        ]
        assert history.machine.condition == "Running"
        assert history.at(30, stock("stop", "premature stop")) == [StopFiring(at_once=False)]
        assert history.at(31, FiringEnded(0)) == [Flush()]
        assert history.machine.condition == "ready"
        assert history.at(40, stock("start")) != []

    def test_each_order_is_answered(self, history: History) -> None:
        """By a status, which is how such a headquarters counts its turrets."""
        history.actions.clear()
        history.at(1, stock("status_request"))
        history.at(1.1, stock("anything", None))
        assert [type(action) for action in history.actions] == [SendStatus, SendStatus]

    def test_a_second_start(self, history: History) -> None:
        """It changes nothing while the turret fires."""
        history.at(1, stock("start"))
        assert history.at(2, stock("start")) == []

    def test_stop_without_a_run(self, history: History) -> None:
        """It changes nothing."""
        assert history.at(1, stock("stop")) == []

    def test_a_status_comes_unasked(self, history: History) -> None:
        """Every two seconds, so that a headquarters that is started later finds the turret."""
        history.actions.clear()
        history.wait(10)
        assert len([action for action in history.actions if isinstance(action, SendStatus)]) == 5

    def test_it_goes_away(self, history: History) -> None:
        """Firing at nobody's order ends after the patience; one that comes back in time changes nothing."""
        history.at(1, stock("start"))
        history.at(5, ConnectionChanged(connected=False))
        history.at(20, ConnectionChanged(connected=True))
        assert history.wait(300) == []
        history.at(301, ConnectionChanged(connected=False))
        assert history.wait(400) == [StopFiring(at_once=False)]

    def test_a_context_that_is_none(self, history: History) -> None:
        """It is left aside."""
        history.at(1, stock("set_transaction_context", None))
        (fire,) = history.at(2, stock("start"))
        assert isinstance(fire, StartFiring)
        assert fire.context == {}


class TestOurs:
    """Under a headquarters of ours, whose orders are a state."""

    def test_a_run(self, history: History) -> None:
        """Announced, started in time, ended by itself, delivered, acknowledged; and not begun again."""
        assert history.at(1, ours(run(3.0))) == []
        assert history.wait(3.74) == []
        (fire,) = history.wait(3.9)
        assert fire == StartFiring("r", 1004.0, 1014.0, raw=False, numbered=True, context={})
        assert history.at(5, ours(run(-1.0), 1)) == [Acknowledge(1)]
        assert history.wait(14.1) == [StopFiring(at_once=False)]
        assert history.at(14.2, FiringEnded(3)) == []
        assert history.machine.reported == ("r", 3, 1)
        assert history.at(15, ours(run(-11.0), 3)) == [Acknowledge(3)]
        assert history.machine.condition == "ready"
        assert history.machine.reported == ("r", 3, 3)
        assert history.at(16, ours(run(-12.0), 3)) == []

    def test_the_fastest_announcement_counts(self, history: History) -> None:
        """A briefing that was under way for long cannot make the start late."""
        history.at(1, ours(run(5.0)))
        history.at(3, ours(run(2.0)))
        (fire,) = history.wait(5)
        assert isinstance(fire, StartFiring)
        assert fire.start == 1005.0

    def test_a_late_joiner(self, history: History) -> None:
        """It fires at once, and times count from the start of the run."""
        (fire,) = history.at(1, ours(run(-4.0)))
        assert isinstance(fire, StartFiring)
        assert (fire.start, fire.end) == (997.0, 1007.0)

    def test_too_late(self, history: History) -> None:
        """A run that is over is not begun, and the headquarters need not wait for this turret."""
        assert history.at(1, ours(run(-20.0))) == []
        assert history.machine.reported == ("r", 0, 0)

    def test_a_lost_start(self, history: History) -> None:
        """No order of its own is needed: the next briefing does it."""
        history.at(1, ours(None))
        assert len(history.at(9, ours(run(-0.5)))) == 1

    def test_a_lost_stop(self, history: History) -> None:
        """The briefing says it as long as the run is there."""
        history.at(1, ours(run(0.0, seconds=100)))
        assert history.at(5, ours(run(-4.0, seconds=100, stopped=True))) == [StopFiring(at_once=False)]
        assert history.at(6, ours(run(-5.0, seconds=100, stopped=True))) == []
        history.at(6.5, FiringEnded(2))
        assert history.machine.reported == ("r", 2, 0)

    def test_stopped_before_it_began(self, history: History) -> None:
        """Nothing is fired, and that is final."""
        history.at(1, ours(run(5.0)))
        assert history.at(2, ours(run(4.0, stopped=True))) == []
        assert history.wait(20) == []
        assert history.machine.reported == ("r", 0, 0)

    def test_stop_during_rampup(self, history: History) -> None:
        """The cannons that are to come are ended like those that fire."""
        history.at(1, ours(run(0.0)))
        assert history.at(1.5, ours(run(-0.5, stopped=True), command="stop")) == [StopFiring(at_once=False)]

    def test_the_headquarters_falls_silent(self, history: History) -> None:
        """The run goes on to its end; what is not acknowledged is kept, offered again, and after the patience lost."""
        history.at(1, ours(run(0.0, seconds=100)))
        history.at(3, ConnectionChanged(connected=False))
        assert StopFiring(at_once=False) not in history.wait(100)
        assert StopFiring(at_once=False) in history.wait(102)
        history.at(102, FiringEnded(50))
        assert Discard(lost=True) not in history.wait(125)
        assert Discard(lost=True) in history.wait(170)
        assert history.machine.condition == "ready"

    def test_the_headquarters_restarts_in_the_middle(self, history: History) -> None:
        """The run continues, and everything that was not acknowledged is sent again."""
        history.at(1, ours(run(0.0, seconds=100)))
        history.at(3, ours(run(-2.0, seconds=100), 2))
        history.at(4, ConnectionChanged(connected=False))
        assert history.at(9, ConnectionChanged(connected=True)) == [Repeat()]
        assert history.at(10, ours(run(-9.0, seconds=100), 2)) == []
        assert history.machine.condition == "Running"

    def test_it_comes_back_without_the_run(self, history: History) -> None:
        """Then firing ends at once, and nobody wants the results."""
        history.at(1, ours(run(0.0)))
        assert history.at(4, ours(None)) == [StopFiring(at_once=True)]
        assert history.at(5, ours(None)) == []
        assert history.at(5.1, FiringEnded(4)) == [Discard(lost=False)]
        assert history.machine.condition == "ready"

    def test_another_run(self, history: History) -> None:
        """The old one is left first; the new one begins with the briefing after that."""
        history.at(1, ours(run(0.0)))
        assert history.at(4, ours(run(3.0, name="s"))) == [StopFiring(at_once=True)]
        history.at(4.2, FiringEnded(4))
        assert history.at(5, ours(run(2.0, name="s"))) == []
        (fire,) = history.wait(7.5)
        assert isinstance(fire, StartFiring)
        assert (fire.run, fire.start) == ("s", 1007.0)

    def test_another_run_before_the_first_began(self, history: History) -> None:
        """A run that was only announced is forgotten without a shot."""
        history.at(1, ours(run(60.0)))
        assert history.at(2, ours(run(60.0, name="s"))) == [Discard(lost=False)]
        history.at(3, ours(run(0.0, name="s")))
        assert history.machine.reported[0] == "s"

    def test_one_of_oct_takes_its_place(self, history: History) -> None:
        """It knows nothing of the run, which ends; and it gets the documented messages only."""
        history.at(1, ours(run(0.0)))
        assert history.at(4, stock("status_request")) == [StopFiring(at_once=True)]
        assert not history.machine.smartmob_hq

    def test_acknowledgements_of_others(self, history: History) -> None:
        """Only those of this uuid count, and only forward."""
        history.at(1, ours(run(0.0)))
        brief = Briefing(protocol=1, headquarters="h", run=run(-1.0), acknowledged={"another": 9})
        assert history.at(2, OrderCame(Order(command="status_request", smartmob=brief))) == []
        assert history.at(3, ours(run(-2.0), 5)) == [Acknowledge(5)]
        assert history.at(4, ours(run(-3.0), 4)) == []

    def test_what_is_not_acknowledged_is_repeated(self, history: History) -> None:
        """After five seconds without progress, then after ten, and so on: a slow headquarters is not drowned."""
        history.at(1, ours(run(0.0, seconds=1000)))
        times = []
        for second in range(2, 100):
            done = history.at(second, ours(run(1.0 - second, seconds=1000))) + history.at(second, Tick())
            if Repeat() in done:
                times.append(second)
        assert times == [6, 16, 36, 76]

    def test_clocks_that_jump_do_not_matter(self, history: History) -> None:
        """Announcements are relative; those that come late or early move a start only to the front."""
        source = random.Random(3)
        history.at(1, ours(run(10.0)))
        for second in range(2, 9):
            history.at(second, ours(run(11.0 - second + source.uniform(0, 3))))
        (fire,) = history.wait(11)
        assert isinstance(fire, StartFiring)
        assert fire.start == 1011.0


class TestTheEnd:
    """How a turret dies."""

    def test_killed_while_ready(self, history: History) -> None:
        """It says so and ends."""
        assert history.at(1, stock("kill")) == [Exit(0)]
        assert history.machine.condition == "Killed"

    def test_killed_while_it_fires(self, history: History) -> None:
        """The cannons end first, and what they did is final."""
        history.at(1, ours(run(0.0)))
        assert history.at(3, ours(run(-2.0), command="kill")) == [StopFiring(at_once=True)]
        assert history.at(3.1, FiringEnded(7)) == [Exit(0)]
        assert history.machine.reported == ("r", 7, 0)

    def test_asked_twice(self, history: History) -> None:
        """The second time it does not wait for its cannons."""
        history.at(1, stock("start"))
        assert history.at(2, Quit()) == [StopFiring(at_once=True)]
        assert history.at(3, Quit()) == [Exit(0)]

    def test_an_error_of_its_own(self, history: History) -> None:
        """It is told as Aborted, with the reason, before the program ends with 1."""
        history.at(1, ours(run(0.0)))
        assert history.at(2, Failed("no more threads")) == [StopFiring(at_once=True)]
        assert (history.machine.condition, history.machine.reason) == ("Aborted", "no more threads")
        assert history.at(3, FiringEnded(1)) == [Exit(1)]

    def test_it_begins_nothing_any_more(self, history: History) -> None:
        """Orders that come meanwhile are only answered."""
        history.at(1, ours(run(0.0)))
        history.at(2, Quit())
        assert history.at(3, ours(run(0.0, name="s"))) in ([], [StopFiring(at_once=True)])
        assert history.at(4, stock("start")) in ([], [StopFiring(at_once=True)])
        assert history.at(5, FiringEnded(1)) == [Exit(0)]


@pytest.mark.parametrize("seed", range(200))
def test_any_history(seed: int) -> None:
    """Whatever comes in whatever order: it fires one run at a time, each once, and every fire is followed by an end."""
    source = random.Random(seed)
    history = History()
    firing, fired = False, []
    for step in range(60):
        events: list[Event] = [
            Tick(),
            ours(None),
            ours(run(source.uniform(-15, 5), name=source.choice("ab"), stopped=source.random() < 0.2)),
            ours(run(source.uniform(-15, 5), name=source.choice("ab")), source.randrange(5)),
            stock(source.choice(["start", "stop", "status_request", "set_transaction_context"])),
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
