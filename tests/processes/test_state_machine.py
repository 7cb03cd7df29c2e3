"""The life of a process, as histories that are replayed: what happens, and what is done about it."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.processes import model
from smartmob.processes import state_machine as m
from smartmob.processes.state_machine import ProcessStateMachine


class Replay:
    """A machine, a clock that is set by hand, and what was done."""

    def __init__(self, grace: float = 10.0) -> None:
        self.machine = ProcessStateMachine(grace, lambda: 0.5)
        self.now = 1000.0
        self.pids = itertools.count(1)
        self.alarm: m.StartTimer | None = None

    def __call__(self, event: m.Event, after: float = 0.0) -> list[m.Action]:
        self.now += after
        actions = self.machine.handle(event, self.now)
        self.alarm = next((action for action in actions if isinstance(action, m.StartTimer)), self.alarm)
        return [action for action in actions if not isinstance(action, m.Report)]

    def told(self, event: m.Event, after: float = 0.0) -> list[str]:
        self.now += after
        return [action.text for action in self.machine.handle(event, self.now) if isinstance(action, m.Report)]

    def run(self) -> None:
        """Come to a running process."""
        assert self(m.StartRequested()) == [m.Prepare()]
        assert self(m.Prepared()) == [m.Spawn()]
        assert self(m.Started(next(self.pids))) == []
        assert self.machine.state == model.RUNNING

    def die(self, after: float, status: int = 1) -> list[m.Action]:
        """Have the running process end by itself; return what is done once nothing is left of it."""
        assert self(m.Exited(status), after) == [m.Kill()]
        return self(m.TreeGone())

    def ring(self) -> list[m.Action]:
        """Let the time of the alarm come."""
        assert self.alarm is not None
        self.now = self.alarm.at
        return self(m.TimerFired(self.alarm.number))


@pytest.fixture
def replay() -> Replay:
    return Replay()


def test_goes_through_its_preparation_to_running(replay: Replay) -> None:
    """The states of seed 002, one after the other."""
    assert replay.machine.state == model.PENDING
    replay(m.StartRequested())
    for state in (model.DOWNLOADING, model.UNPACKING, model.PROCESSING):
        assert replay(m.PreparationAdvanced(state)) == []
        assert replay.machine.state == state
    assert replay(m.Prepared()) == [m.Spawn()]
    assert replay(m.Started(77)) == []
    assert (replay.machine.state, replay.machine.pid, replay.machine.restarts) == (model.RUNNING, 77, 0)


@pytest.mark.parametrize("failure", sorted(model.FAILURES))
def test_a_failed_preparation_stays_failed_until_somebody_asks(replay: Replay, failure: str) -> None:
    """Its state names the failure, its detail the reason; asked again, it begins anew."""
    replay(m.StartRequested())
    assert replay(m.PreparationFailed(failure, "why")) == []
    assert (replay.machine.state, replay.machine.detail, replay.machine.idle) == (failure, "why", True)
    assert replay(m.StartRequested(restart=True)) == [m.Prepare()]
    assert (replay.machine.state, replay.machine.detail) == (model.PENDING, "")


@pytest.mark.parametrize("status", [0, 1, -9, None])
def test_whoever_ends_is_started_again_at_once(replay: Replay, status: int | None) -> None:
    """However it ended, also with success (seed 002); and what it left is ended first."""
    replay.run()
    assert replay(m.Exited(status), after=60) == [m.Kill()]
    assert replay.machine.last_status == status
    assert replay(m.TreeGone()) == [m.Spawn()]
    replay(m.Started(2))
    assert (replay.machine.state, replay.machine.restarts) == (model.RUNNING, 1)


def test_whoever_keeps_dying_young_waits_longer_and_longer(replay: Replay) -> None:
    """At once the first time, then after pauses that double up to the longest."""
    replay.run()
    assert replay.die(after=1) == [m.Spawn()]
    pauses = []
    for _ in range(9):
        replay(m.Started(next(replay.pids)))
        [alarm] = replay.die(after=1)
        assert isinstance(alarm, m.StartTimer)
        assert (replay.machine.state, replay.machine.next_try) == (model.BACKOFF, alarm.at)
        pauses.append(alarm.at - replay.now)
        assert replay.ring() == [m.Spawn()]
        assert replay.machine.next_try is None
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_whoever_has_lived_long_is_well_again(replay: Replay) -> None:
    """The next death is the first one again."""
    replay.run()
    replay.die(after=1)
    replay(m.Started(2))
    replay.die(after=1)
    assert replay.machine.state == model.BACKOFF
    replay.ring()
    replay(m.Started(3))
    assert replay.die(after=m.MINIMUM_UPTIME_SECONDS) == [m.Spawn()]
    replay(m.Started(4))
    assert replay.die(after=1) == [m.Spawn()]


def test_a_program_that_cannot_be_started_never_makes_a_busy_loop(replay: Replay) -> None:
    """It counts as a death, and the reason is shown."""
    replay(m.StartRequested())
    replay(m.Prepared())
    assert replay(m.StartFailed("no such file")) == [m.Spawn()]
    [alarm] = replay(m.StartFailed("no such file"))
    assert isinstance(alarm, m.StartTimer)
    assert (replay.machine.state, replay.machine.detail) == (model.BACKOFF, "no such file")
    assert replay.machine.starts == 0


@given(st.floats(0, 1))
def test_pauses_vary_within_their_bounds(chance: float) -> None:
    """So that many do not try at the same moment; never more than the longest."""
    for deaths in range(2, 40):
        machine = ProcessStateMachine(10, lambda: chance)
        machine.handle(m.StartRequested(), 0)
        machine.handle(m.Prepared(), 0)
        for _ in range(deaths):
            [*_, last] = machine.handle(m.StartFailed(""), 0)
            if isinstance(last, m.StartTimer):
                machine.handle(m.TimerFired(last.number), 0)
        assert isinstance(last, m.StartTimer)
        plain = min(m.LONGEST_PAUSE_SECONDS, m.FIRST_PAUSE_SECONDS * 2.0 ** (deaths - 2))
        assert plain * (1 - m.JITTER) - 1e-9 <= last.at <= min(m.LONGEST_PAUSE_SECONDS, plain * (1 + m.JITTER) + 1e-9)


def test_a_stop_asks_and_then_insists(replay: Replay) -> None:
    """SIGTERM, the time it has, and then the end of the whole tree."""
    replay.run()
    terminate, alarm = replay(m.StopRequested())
    assert terminate == m.Terminate()
    assert isinstance(alarm, m.StartTimer)
    assert alarm.at == replay.now + 10
    assert replay.machine.state == model.STOPPING
    assert replay.ring() == [m.Kill()]
    replay(m.Exited(-9))
    assert not replay.machine.idle
    assert replay(m.TreeGone()) == []
    assert (replay.machine.state, replay.machine.idle) == (model.STOPPED, True)


def test_what_a_stopped_program_leaves_has_the_rest_of_the_time(replay: Replay) -> None:
    """The leader has ended, its tree has not: it is asked, too, and killed when the time is up."""
    replay.run()
    replay(m.StopRequested())
    assert replay(m.Exited(0)) == [m.Terminate()]
    assert replay.machine.state == model.STOPPING
    assert replay.ring() == [m.Kill()]
    assert replay(m.TreeGone()) == []
    assert replay.machine.state == model.STOPPED


@pytest.mark.parametrize("state", ["backoff", "failure", "pending"])
def test_a_stop_of_what_does_not_run_is_done_at_once(replay: Replay, state: str) -> None:
    """And no alarm of before starts it again."""
    if state == "backoff":
        replay.run()
        replay.die(after=1)
        replay(m.Started(2))
        replay.die(after=1)
    elif state == "failure":
        replay(m.StartRequested())
        replay(m.PreparationFailed(model.NO_PROCFILE))
    assert replay(m.StopRequested()) == []
    assert (replay.machine.state, replay.machine.idle, replay.machine.next_try) == (model.STOPPED, True, None)
    if replay.alarm is not None:
        assert replay.ring() == []


def test_a_stop_while_it_is_prepared_gives_the_preparation_up(replay: Replay) -> None:
    """It is stopped when the preparation has ended."""
    replay(m.StartRequested())
    replay(m.PreparationAdvanced(model.DOWNLOADING))
    assert replay(m.StopRequested()) == [m.CancelPreparation()]
    assert (replay.machine.state, replay.machine.idle) == (model.STOPPING, False)
    assert replay(m.PreparationFailed(model.STOPPED)) == []
    assert (replay.machine.state, replay.machine.idle) == (model.STOPPED, True)


def test_a_stop_that_comes_when_the_preparation_just_ended_starts_nothing(replay: Replay) -> None:
    """What was prepared is kept for the next start."""
    replay(m.StartRequested())
    replay(m.StopRequested())
    assert replay(m.Prepared()) == []
    assert replay.machine.state == model.STOPPED
    assert replay(m.StartRequested()) == [m.Spawn()]


def test_a_start_after_a_stop_while_it_is_prepared_prepares_again(replay: Replay) -> None:
    """The last wish counts."""
    replay(m.StartRequested())
    replay(m.StopRequested())
    replay(m.StartRequested())
    assert replay(m.PreparationFailed(model.STOPPED)) == [m.Prepare()]


def test_a_stop_while_it_is_started_ends_what_was_started(replay: Replay) -> None:
    """It cannot be told apart from a running one by then."""
    replay(m.StartRequested())
    replay(m.Prepared())
    assert replay(m.StopRequested()) == []
    assert not replay.machine.idle
    actions = replay(m.Started(5))
    assert isinstance(actions[0], m.Terminate)
    assert replay.machine.state == model.STOPPING


def test_a_stop_while_a_start_fails_lets_it_rest(replay: Replay) -> None:
    """There is nothing to end."""
    replay(m.StartRequested())
    replay(m.Prepared())
    replay(m.StopRequested())
    assert replay(m.StartFailed("no")) == []
    assert (replay.machine.state, replay.machine.idle) == (model.STOPPED, True)


def test_a_start_of_what_was_stopped_is_pending(replay: Replay) -> None:
    """It is under way, and what is shown must not say that it still rests."""
    replay.run()
    for event in (m.StopRequested(), m.Exited(-15), m.TreeGone()):
        replay(event)
    assert replay(m.StartRequested(restart=True)) == [m.Spawn()]
    assert replay.machine.state == model.PENDING


def test_a_restart_stops_and_starts_at_once(replay: Replay) -> None:
    """However young it is, and however often it died before."""
    replay.run()
    for _ in range(3):
        assert isinstance(replay(m.StartRequested(restart=True))[0], m.Terminate)
        assert replay(m.Exited(-15)) == [m.Terminate()]
        assert replay(m.TreeGone()) == [m.Spawn()]
        replay(m.Started(next(replay.pids)))
    assert replay.machine.restarts == 3


def test_a_restart_ends_a_pause(replay: Replay) -> None:
    """Who asks does not want to wait; the alarm of the pause does nothing then."""
    replay.run()
    replay.die(after=1)
    replay(m.Started(2))
    replay.die(after=1)
    alarm = replay.alarm
    assert alarm is not None
    assert replay(m.StartRequested(restart=True)) == [m.Spawn()]
    replay(m.Started(3))
    assert replay(m.TimerFired(alarm.number)) == []


def test_a_stop_after_a_restart_counts(replay: Replay) -> None:
    """The last wish counts."""
    replay.run()
    replay(m.StartRequested(restart=True))
    assert replay(m.StopRequested()) == []
    replay(m.Exited(0))
    assert replay(m.TreeGone()) == []
    assert replay.machine.state == model.STOPPED


def test_a_start_of_what_runs_does_nothing(replay: Replay) -> None:
    """It is as it should be."""
    replay.run()
    assert replay(m.StartRequested()) == []


def test_says_what_happens(replay: Replay) -> None:
    """In words for those who look on."""
    replay(m.StartRequested())
    replay(m.Prepared())
    assert replay.told(m.Started(9)) == ["started, pid 9"]
    assert replay.told(m.Exited(3), after=1) == ["exited 3"]
    replay(m.TreeGone())
    assert replay.told(m.Started(10)) == ["started, pid 10"]
    assert replay.told(m.Exited(-11), after=1) == ["ended by signal 11"]
    assert replay.told(m.TreeGone()) == ["restarting in 0.5 s"]
    assert m.describe(None) == "exited with an unknown status"


WISHES = st.lists(st.sampled_from(["start", "restart", "stop", "world", "world", "world", "time"]), max_size=60)


@given(WISHES, st.lists(st.integers(0, 3), min_size=60, max_size=60))
def test_no_history_leads_astray(wishes: list[str], choices: list[int]) -> None:
    """Whatever is asked and whatever happens: one program at most, and at the end it is as it was wanted."""
    machine, world = ProcessStateMachine(10, lambda: 0.5), World()
    for wish, choice in zip(wishes, choices, strict=False):
        if wish == "world":
            world.act(machine, choice)
        elif wish == "time":
            world.time(machine)
        else:
            event = m.StopRequested() if wish == "stop" else m.StartRequested(restart=wish == "restart")
            world.carry_out(machine.handle(event, world.now))
    machine_wants = machine.wanted
    for _ in range(50):
        if not world.act(machine, 0):
            break
    assert machine.wanted == machine_wants
    if machine_wants:
        assert machine.state in (model.RUNNING, model.BACKOFF, *model.FAILURES)
        assert world.running == (machine.state == model.RUNNING)
    else:
        assert machine.idle
        assert not world.running
        assert machine.state in (model.STOPPED, model.PENDING)


class World:
    """Carries out actions, and has things happen in an order that the test chooses."""

    def __init__(self) -> None:
        self.now = 0.0
        self.running = False
        self.exited = False
        self.preparing = False
        self.spawning = False
        self.dying = False
        self.given_up = False
        self.alarms: list[m.StartTimer] = []
        self.done: Counter[str] = Counter()

    def carry_out(self, actions: list[m.Action]) -> None:
        for action in actions:
            self.done[type(action).__name__] += 1
            match action:
                case m.Prepare():
                    assert not (self.preparing or self.spawning or self.running)
                    self.preparing, self.given_up = True, False
                case m.CancelPreparation():
                    assert self.preparing
                    self.given_up = True
                case m.Spawn():
                    assert not (self.preparing or self.spawning or self.running)
                    self.spawning = True
                case m.Terminate() | m.Kill():
                    assert self.running
                    self.dying = True
                case m.StartTimer():
                    self.alarms.append(action)

    def act(self, machine: ProcessStateMachine, choice: int) -> bool:
        """Let one thing that is under way happen; return whether anything was."""
        self.now += 0.1
        event: m.Event
        if self.preparing:
            self.preparing = False
            if self.given_up and choice != 3:
                event = m.PreparationFailed(model.STOPPED)
            else:
                event = m.PreparationFailed(model.PIP_INSTALL_FAILURE) if choice == 1 else m.Prepared()
        elif self.spawning:
            self.spawning = False
            self.running = choice != 1
            event = m.Started(1) if self.running else m.StartFailed("")
        elif self.running and self.exited:
            self.running = self.exited = self.dying = False
            event = m.TreeGone()
        elif self.running and (self.dying or choice == 2):
            self.exited = True
            event = m.Exited(0)
        else:
            return False
        self.carry_out(machine.handle(event, self.now))
        return True

    def time(self, machine: ProcessStateMachine) -> None:
        for alarm in self.alarms[:1]:
            self.alarms.remove(alarm)
            self.now = max(self.now, alarm.at)
            self.carry_out(machine.handle(m.TimerFired(alarm.number), self.now))
