"""The state machine of a process: sequences of events, and the actions that follow."""

from __future__ import annotations

import itertools
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from smartmob.processes import machine_events, model
from smartmob.processes import state_machine as m
from smartmob.processes.state_machine import ProcessStateMachine


class Replay:
    """A state machine with a clock that the test sets."""

    def __init__(self, grace: float = 10.0, restart: model.RestartPolicy = model.ALWAYS) -> None:
        self.machine = ProcessStateMachine(grace, lambda: 0.5, restart)
        self.now = 1000.0
        self.pids = itertools.count(1)
        self.timer: machine_events.StartTimer | None = None

    def __call__(self, event: machine_events.Event, after: float = 0.0) -> list[machine_events.Action]:
        self.now += after
        actions = self.machine.handle(event, self.now)
        self.timer = next((action for action in actions if isinstance(action, machine_events.StartTimer)), self.timer)
        return [action for action in actions if not isinstance(action, machine_events.ReportEvent)]

    def reports(self, event: machine_events.Event, after: float = 0.0) -> list[str]:
        self.now += after
        return [
            action.text
            for action in self.machine.handle(event, self.now)
            if isinstance(action, machine_events.ReportEvent)
        ]

    def run(self) -> None:
        """Lead to a running process."""
        assert self(machine_events.StartRequested()) == [machine_events.Prepare()]
        assert self(machine_events.Prepared()) == [machine_events.Spawn()]
        assert self(machine_events.ProgramStarted(next(self.pids))) == []
        assert self.machine.state == model.RUNNING

    def exit_early(self, after: float, status: int = 1) -> list[machine_events.Action]:
        """Let the running program end by itself; return the actions after its tree is gone."""
        assert self(machine_events.Exited(status), after) == [machine_events.Kill()]
        return self(machine_events.TreeGone())

    def fire_timer(self) -> list[machine_events.Action]:
        """Let the timer fire."""
        assert self.timer is not None
        self.now = self.timer.at
        return self(machine_events.TimerFired(self.timer.number))


@pytest.fixture
def replay() -> Replay:
    return Replay()


def test_a_start_leads_through_the_preparation_to_running(replay: Replay) -> None:
    """The states of seed 002 follow each other."""
    assert replay.machine.state == model.PENDING
    replay(machine_events.StartRequested())
    for state in (model.DOWNLOADING, model.UNPACKING, model.PROCESSING):
        assert replay(machine_events.PreparationAdvanced(state)) == []
        assert replay.machine.state == state
    assert replay(machine_events.Prepared()) == [machine_events.Spawn()]
    assert replay(machine_events.ProgramStarted(77)) == []
    assert (replay.machine.state, replay.machine.pid, replay.machine.restarts) == (model.RUNNING, 77, 0)


@pytest.mark.parametrize("failure", sorted(model.FAILURES))
def test_a_failed_preparation_stays_failed_until_a_restart(replay: Replay, failure: str) -> None:
    """The state names the failure, the detail the reason; a restart prepares again."""
    replay(machine_events.StartRequested())
    assert replay(machine_events.PreparationFailed(failure, "why")) == []
    assert (replay.machine.state, replay.machine.detail, replay.machine.idle) == (failure, "why", True)
    assert replay(machine_events.StartRequested(restart=True)) == [machine_events.Prepare()]
    assert (replay.machine.state, replay.machine.detail) == (model.PENDING, "")


def test_the_hint_of_an_exit_is_shown(replay: Replay) -> None:
    """It stands in the report and in the detail until the program runs again."""
    replay.run()
    assert replay.reports(machine_events.Exited(127, "./x: its first line names /no/sh")) == [
        "exited 127: ./x: its first line names /no/sh"
    ]
    replay(machine_events.TreeGone())
    assert replay.machine.detail == "./x: its first line names /no/sh"
    replay(machine_events.ProgramStarted(2))
    assert replay.machine.detail == ""


@pytest.mark.parametrize("status", [0, 1, -9, None])
def test_a_program_that_ends_is_started_again_at_once(replay: Replay, status: int | None) -> None:
    """The exit status does not matter (seed 002), and the rest of its tree is killed first."""
    replay.run()
    assert replay(machine_events.Exited(status), after=60) == [machine_events.Kill()]
    assert replay.machine.last_status == status
    assert replay(machine_events.TreeGone()) == [machine_events.Spawn()]
    replay(machine_events.ProgramStarted(2))
    assert (replay.machine.state, replay.machine.restarts) == (model.RUNNING, 1)


def test_the_pause_doubles_while_the_program_keeps_exiting_early(replay: Replay) -> None:
    """The first restart is immediate, and the pause has a maximum."""
    replay.run()
    assert replay.exit_early(after=1) == [machine_events.Spawn()]
    pauses = []
    for _ in range(9):
        replay(machine_events.ProgramStarted(next(replay.pids)))
        [timer] = replay.exit_early(after=1)
        assert isinstance(timer, machine_events.StartTimer)
        assert (replay.machine.state, replay.machine.next_try) == (model.BACKOFF, timer.at)
        pauses.append(timer.at - replay.now)
        assert replay.fire_timer() == [machine_events.Spawn()]
        assert replay.machine.next_try is None
    assert pauses == [0.5, 1, 2, 4, 8, 16, 30, 30, 30]


def test_a_long_uptime_resets_the_pause(replay: Replay) -> None:
    """The next early exit counts as the first one."""
    replay.run()
    replay.exit_early(after=1)
    replay(machine_events.ProgramStarted(2))
    replay.exit_early(after=1)
    assert replay.machine.state == model.BACKOFF
    replay.fire_timer()
    replay(machine_events.ProgramStarted(3))
    assert replay.exit_early(after=m.MINIMUM_UPTIME_SECONDS) == [machine_events.Spawn()]
    replay(machine_events.ProgramStarted(4))
    assert replay.exit_early(after=1) == [machine_events.Spawn()]


def test_a_program_that_cannot_be_started_backs_off(replay: Replay) -> None:
    """A failed start counts as an early exit, and its reason is shown."""
    replay(machine_events.StartRequested())
    replay(machine_events.Prepared())
    assert replay(machine_events.StartFailed("no such file")) == [machine_events.Spawn()]
    [timer] = replay(machine_events.StartFailed("no such file"))
    assert isinstance(timer, machine_events.StartTimer)
    assert (replay.machine.state, replay.machine.detail) == (model.BACKOFF, "no such file")
    assert replay.machine.starts == 0


@given(st.floats(0, 1))
def test_pauses_vary_within_the_jitter_and_the_maximum(number: float) -> None:
    """Many processes do not start at the same moment."""
    for exits in range(2, 40):
        machine = ProcessStateMachine(10, lambda: number)
        machine.handle(machine_events.StartRequested(), 0)
        machine.handle(machine_events.Prepared(), 0)
        for _ in range(exits):
            [*_, last] = machine.handle(machine_events.StartFailed(""), 0)
            if isinstance(last, machine_events.StartTimer):
                machine.handle(machine_events.TimerFired(last.number), 0)
        assert isinstance(last, machine_events.StartTimer)
        plain = min(m.LONGEST_PAUSE_SECONDS, m.FIRST_PAUSE_SECONDS * 2.0 ** (exits - 2))
        assert plain * (1 - m.JITTER) - 1e-9 <= last.at <= min(m.LONGEST_PAUSE_SECONDS, plain * (1 + m.JITTER) + 1e-9)


def test_a_stop_sends_sigterm_and_kills_the_tree_after_the_grace(replay: Replay) -> None:
    """The process is stopped when its tree is gone."""
    replay.run()
    terminate, timer = replay(machine_events.StopRequested())
    assert terminate == machine_events.Terminate()
    assert isinstance(timer, machine_events.StartTimer)
    assert timer.at == replay.now + 10
    assert replay.machine.state == model.STOPPING
    assert replay.fire_timer() == [machine_events.Kill()]
    replay(machine_events.Exited(-9))
    assert not replay.machine.idle
    assert replay(machine_events.TreeGone()) == []
    assert (replay.machine.state, replay.machine.idle) == (model.STOPPED, True)


def test_the_descendants_of_a_stopped_program_have_the_rest_of_the_grace(replay: Replay) -> None:
    """They get SIGTERM when the program has ended, and are killed at the end of the grace."""
    replay.run()
    replay(machine_events.StopRequested())
    assert replay(machine_events.Exited(0)) == [machine_events.Terminate()]
    assert replay.machine.state == model.STOPPING
    assert replay.fire_timer() == [machine_events.Kill()]
    assert replay(machine_events.TreeGone()) == []
    assert replay.machine.state == model.STOPPED


@pytest.mark.parametrize("state", ["backoff", "failure", "pending"])
def test_a_stop_of_a_process_that_does_not_run_is_immediate(replay: Replay, state: str) -> None:
    """An earlier timer does not start it again."""
    if state == "backoff":
        replay.run()
        replay.exit_early(after=1)
        replay(machine_events.ProgramStarted(2))
        replay.exit_early(after=1)
    elif state == "failure":
        replay(machine_events.StartRequested())
        replay(machine_events.PreparationFailed(model.NO_PROCFILE))
    assert replay(machine_events.StopRequested()) == []
    assert (replay.machine.state, replay.machine.idle, replay.machine.next_try) == (model.STOPPED, True, None)
    if replay.timer is not None:
        assert replay.fire_timer() == []


def test_a_stop_cancels_the_preparation(replay: Replay) -> None:
    """The process is stopped when the preparation has ended."""
    replay(machine_events.StartRequested())
    replay(machine_events.PreparationAdvanced(model.DOWNLOADING))
    assert replay(machine_events.StopRequested()) == [machine_events.CancelPreparation()]
    assert (replay.machine.state, replay.machine.idle) == (model.STOPPING, False)
    assert replay(machine_events.PreparationFailed(model.STOPPED)) == []
    assert (replay.machine.state, replay.machine.idle) == (model.STOPPED, True)


def test_a_stop_just_before_the_end_of_the_preparation_starts_nothing(replay: Replay) -> None:
    """The next start uses the preparation."""
    replay(machine_events.StartRequested())
    replay(machine_events.StopRequested())
    assert replay(machine_events.Prepared()) == []
    assert replay.machine.state == model.STOPPED
    assert replay(machine_events.StartRequested()) == [machine_events.Spawn()]


def test_a_start_after_a_cancelled_preparation_prepares_again(replay: Replay) -> None:
    """The last request counts."""
    replay(machine_events.StartRequested())
    replay(machine_events.StopRequested())
    replay(machine_events.StartRequested())
    assert replay(machine_events.PreparationFailed(model.STOPPED)) == [machine_events.Prepare()]


def test_a_stop_during_the_spawn_ends_the_program(replay: Replay) -> None:
    """It is reports to end as soon as it runs."""
    replay(machine_events.StartRequested())
    replay(machine_events.Prepared())
    assert replay(machine_events.StopRequested()) == []
    assert not replay.machine.idle
    actions = replay(machine_events.ProgramStarted(5))
    assert isinstance(actions[0], machine_events.Terminate)
    assert replay.machine.state == model.STOPPING


def test_a_stop_during_a_spawn_that_fails_leads_to_stopped(replay: Replay) -> None:
    """No further start follows."""
    replay(machine_events.StartRequested())
    replay(machine_events.Prepared())
    replay(machine_events.StopRequested())
    assert replay(machine_events.StartFailed("no")) == []
    assert (replay.machine.state, replay.machine.idle) == (model.STOPPED, True)


def test_a_start_of_a_stopped_process_is_pending(replay: Replay) -> None:
    """The state must not stay `stopped` while the program is being spawned."""
    replay.run()
    for event in (machine_events.StopRequested(), machine_events.Exited(-15), machine_events.TreeGone()):
        replay(event)
    assert replay(machine_events.StartRequested(restart=True)) == [machine_events.Spawn()]
    assert replay.machine.state == model.PENDING


def test_a_restart_has_no_pause(replay: Replay) -> None:
    """Neither the uptime nor the number of earlier exits matters."""
    replay.run()
    for _ in range(3):
        assert isinstance(replay(machine_events.StartRequested(restart=True))[0], machine_events.Terminate)
        assert replay(machine_events.Exited(-15)) == [machine_events.Terminate()]
        assert replay(machine_events.TreeGone()) == [machine_events.Spawn()]
        replay(machine_events.ProgramStarted(next(replay.pids)))
    assert replay.machine.restarts == 3


def test_a_restart_ends_a_pause(replay: Replay) -> None:
    """The timer of the pause has no effect then."""
    replay.run()
    replay.exit_early(after=1)
    replay(machine_events.ProgramStarted(2))
    replay.exit_early(after=1)
    timer = replay.timer
    assert timer is not None
    assert replay(machine_events.StartRequested(restart=True)) == [machine_events.Spawn()]
    replay(machine_events.ProgramStarted(3))
    assert replay(machine_events.TimerFired(timer.number)) == []


def test_a_stop_overrides_an_earlier_restart(replay: Replay) -> None:
    """The last request counts."""
    replay.run()
    replay(machine_events.StartRequested(restart=True))
    assert replay(machine_events.StopRequested()) == []
    replay(machine_events.Exited(0))
    assert replay(machine_events.TreeGone()) == []
    assert replay.machine.state == model.STOPPED


def test_a_start_of_a_running_process_does_nothing(replay: Replay) -> None:
    """Only a restart ends the program."""
    replay.run()
    assert replay(machine_events.StartRequested()) == []


def test_reports_describe_starts_exits_and_pauses(replay: Replay) -> None:
    """The texts are for people."""
    replay(machine_events.StartRequested())
    replay(machine_events.Prepared())
    assert replay.reports(machine_events.ProgramStarted(9)) == ["started, pid 9"]
    assert replay.reports(machine_events.Exited(3), after=1) == ["exited 3"]
    replay(machine_events.TreeGone())
    assert replay.reports(machine_events.ProgramStarted(10)) == ["started, pid 10"]
    assert replay.reports(machine_events.Exited(-11), after=1) == ["ended by signal 11"]
    assert replay.reports(machine_events.TreeGone()) == ["restarting in 0.5 s"]
    assert m.describe(None) == "exited with an unknown status"


REQUESTS = st.lists(
    st.sampled_from(["start", "restart", "stop", "environment", "environment", "environment", "time"]), max_size=60
)


@given(REQUESTS, st.lists(st.integers(0, 3), min_size=60, max_size=60))
def test_any_sequence_of_events_leads_to_the_wanted_state(requests: list[str], choices: list[int]) -> None:
    """At most one program runs at a time."""
    machine, environment = ProcessStateMachine(10, lambda: 0.5), Environment()
    for request, choice in zip(requests, choices, strict=False):
        if request == "environment":
            environment.act(machine, choice)
        elif request == "time":
            environment.time(machine)
        else:
            event = (
                machine_events.StopRequested()
                if request == "stop"
                else machine_events.StartRequested(restart=request == "restart")
            )
            environment.carry_out(machine.handle(event, environment.now))
    machine_wants = machine.wanted
    for _ in range(50):
        if not environment.act(machine, 0):
            break
    assert machine.wanted == machine_wants
    if machine_wants:
        assert machine.state in (model.RUNNING, model.BACKOFF, *model.FAILURES)
        assert environment.running == (machine.state == model.RUNNING)
    else:
        assert machine.idle
        assert not environment.running
        assert machine.state in (model.STOPPED, model.PENDING)


class Environment:
    """The environment of a state machine: carries out actions, and chooses the order of the events."""

    def __init__(self) -> None:
        self.now = 0.0
        self.running = False
        self.exited = False
        self.preparing = False
        self.spawning = False
        self.told_to_end = False
        self.cancelled = False
        self.timers: list[machine_events.StartTimer] = []
        self.done: Counter[str] = Counter()

    def carry_out(self, actions: list[machine_events.Action]) -> None:
        for action in actions:
            self.done[type(action).__name__] += 1
            match action:
                case machine_events.Prepare():
                    assert not (self.preparing or self.spawning or self.running)
                    self.preparing, self.cancelled = True, False
                case machine_events.CancelPreparation():
                    assert self.preparing
                    self.cancelled = True
                case machine_events.Spawn():
                    assert not (self.preparing or self.spawning or self.running)
                    self.spawning = True
                case machine_events.Terminate() | machine_events.Kill():
                    assert self.running
                    self.told_to_end = True
                case machine_events.StartTimer():
                    self.timers.append(action)

    def act(self, machine: ProcessStateMachine, choice: int) -> bool:
        """Let the next event happen; return whether there was one."""
        self.now += 0.1
        event: machine_events.Event
        if self.preparing:
            self.preparing = False
            if self.cancelled and choice != 3:
                event = machine_events.PreparationFailed(model.STOPPED)
            else:
                event = (
                    machine_events.PreparationFailed(model.PIP_INSTALL_FAILURE)
                    if choice == 1
                    else machine_events.Prepared()
                )
        elif self.spawning:
            self.spawning = False
            self.running = choice != 1
            event = machine_events.ProgramStarted(1) if self.running else machine_events.StartFailed("")
        elif self.running and self.exited:
            self.running = self.exited = self.told_to_end = False
            event = machine_events.TreeGone()
        elif self.running and (self.told_to_end or choice == 2):
            self.exited = True
            event = machine_events.Exited(0)
        else:
            return False
        self.carry_out(machine.handle(event, self.now))
        return True

    def time(self, machine: ProcessStateMachine) -> None:
        for timer in self.timers[:1]:
            self.timers.remove(timer)
            self.now = max(self.now, timer.at)
            self.carry_out(machine.handle(machine_events.TimerFired(timer.number), self.now))


@pytest.mark.parametrize(
    ("restart", "status", "again"),
    [
        (model.ON_FAILURE, 0, False),
        (model.ON_FAILURE, 1, True),
        (model.ON_FAILURE, -9, True),
        (model.ON_FAILURE, None, True),
        (model.NEVER, 0, False),
        (model.NEVER, 3, False),
        (model.NEVER, -9, False),
        (model.NEVER, None, False),
    ],
)
def test_the_restart_policy_decides_whether_a_program_runs_again(
    restart: model.RestartPolicy, status: int | None, again: bool
) -> None:
    """One that is not started again is stopped, is not wanted any more, and says how it ended."""
    replay = Replay(restart=restart)
    replay.run()
    replay(machine_events.Exited(status), 60.0)
    if again:
        assert replay(machine_events.TreeGone()) == [machine_events.Spawn()]
        return
    assert replay(machine_events.TreeGone()) == [machine_events.Complete()]
    assert (replay.machine.state, replay.machine.wanted) == (model.STOPPED, False)
    assert m.describe(status) in replay.machine.detail
    assert repr(restart) in replay.machine.detail
    assert replay(machine_events.StartRequested(restart=True)) == [machine_events.Spawn()]
    assert replay.machine.state == model.PENDING


def test_a_requested_restart_does_not_depend_on_the_policy() -> None:
    """A client that restarts a program wants it to run again."""
    replay = Replay(restart=model.NEVER)
    replay.run()
    replay(machine_events.StartRequested(restart=True))
    replay(machine_events.Exited(0))
    assert replay(machine_events.TreeGone()) == [machine_events.Spawn()]


def test_a_program_that_cannot_be_spawned_is_tried_once_with_the_policy_never() -> None:
    """With the others it is tried again."""
    replay = Replay(restart=model.NEVER)
    replay(machine_events.StartRequested())
    replay(machine_events.Prepared())
    assert replay(machine_events.StartFailed("no file")) == [machine_events.Complete()]
    assert (replay.machine.state, replay.machine.detail.partition(";")[0]) == (model.STOPPED, "no file")


def test_a_program_that_puts_itself_into_the_background_is_not_started_again(replay: Replay) -> None:
    """It is a failure with the hint, without a second try; a client's restart tries it again."""
    replay.run()
    assert replay(machine_events.Exited(0, "in the background", left_behind=True)) == [machine_events.Kill()]
    assert replay.reports(machine_events.TreeGone()) == ["start failure: in the background"]
    assert (replay.machine.state, replay.machine.idle, replay.machine.starts) == (model.START_FAILURE, True, 1)
    assert replay(machine_events.StartRequested(restart=True)) == [machine_events.Spawn()]
    assert replay.machine.state == model.PENDING


def test_a_program_that_leaves_descendants_after_a_while_is_started_again(replay: Replay) -> None:
    """It has worked before, so it has not put itself into the background."""
    replay.run()
    assert replay(machine_events.Exited(0, "hint", left_behind=True), m.MINIMUM_UPTIME_SECONDS) == [
        machine_events.Kill()
    ]
    assert replay(machine_events.TreeGone()) == [machine_events.Spawn()]
