"""Histories of a headquarters: events at chosen times."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from smartmob.turrets.hq.machine_events import (
    Action,
    Event,
    MemberChanged,
    Now,
    Publish,
    Resumed,
    RunChanged,
    RunRequested,
    RunState,
    StatusReceived,
    Ticked,
    Timeouts,
    TurretLost,
)
from smartmob.turrets.hq.state_machine import HeadquartersStateMachine
from smartmob.turrets.model import Member, RunConfig
from smartmob.turrets.protocol import PROTOCOL, Briefing, Health, Report, Status

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
RUN = "01a20788-1e4e-7206-a499-0770704355fa"
TIMEOUTS = Timeouts(lost_after=5.0, quiet=2.0, drain=30.0, wait=60.0, lead=0.5)


def oct_turret(status: str, uuid: str = "u1", name: str = "nav", cannons: float | None = 5.0) -> StatusReceived:
    """Return the status of a turret of OCT."""
    return StatusReceived(
        Status(turret=name, status=status, uuid=uuid, rampup=0.0, script="v_user.py", cannons=cannons)
    )


def ours(status: str, uuid: str = "u1", run: str | None = None, **report: Any) -> StatusReceived:
    """Return the status of a turret of smartmob."""
    told = Report(protocol=PROTOCOL, version="1", host="rack7", run=run, **report)
    return StatusReceived(
        Status(turret="nav", status=status, uuid=uuid, rampup=0.0, script="v.py", cannons=5.0, smartmob=told)
    )


def health(busiest: float = 0.5, lag: float = 0.001) -> Health:
    """Return the health of a turret."""
    return Health(cpu=busiest, busiest=busiest, cores=2, lag=lag, memory=30_000_000)


@dataclass
class History:
    """A headquarters with its two times: `steady` only grows, `wall` can be set back."""

    machine: HeadquartersStateMachine = field(default_factory=lambda: HeadquartersStateMachine("here", TIMEOUTS))
    steady: float = 1000.0
    wall: datetime = NOON
    said: list[Action] = field(default_factory=list)

    def after(self, seconds: float) -> History:
        """Let time pass."""
        self.steady += seconds
        self.wall += timedelta(seconds=seconds)
        return self

    def now(self) -> Now:
        """Return the present."""
        return Now(self.steady, self.wall)

    def tell(self, event: Event) -> list[Action]:
        """Let the headquarters handle an event; return its actions."""
        actions = self.machine.handle(event, self.now())
        self.said += actions
        return actions

    def ask(self, **config: Any) -> list[Action]:
        """Request a run of 20 seconds."""
        return self.tell(RunRequested(RUN, RunConfig(**{"run_time": 20.0} | config), self.wall))

    def tick(self, seconds: float = 0.0, pending: int = 0) -> list[Action]:
        """Let time pass, and let the headquarters handle that."""
        self.after(seconds)
        return self.tell(Ticked(pending))

    def pass_time(self, seconds: float, *alive: StatusReceived) -> list[Action]:
        """Let time pass in steps of a second; in each of them, the turrets of `alive` send their statuses."""
        actions: list[Action] = []
        for _ in range(int(seconds)):
            actions += self.tick(1.0)
            for status in alive:
                actions += self.tell(status)
        return actions

    @property
    def state(self) -> str:
        """Return the state of the run."""
        assert self.machine.run is not None
        return self.machine.run.state

    def member(self, uuid: str = "u1") -> Member:
        """Return a turret."""
        return next(member for member in self.machine.members() if member.uuid == uuid)

    def restart(self, away: float) -> History:
        """Return a new headquarters that takes up the run after it was away."""
        assert self.machine.run is not None
        later = History(steady=77.0, wall=self.wall + timedelta(seconds=away))
        later.tell(Resumed(self.machine.run, tuple(self.machine.members()), {}))
        return later


def orders(actions: list[Action]) -> list[str]:
    """Return the commands that are sent."""
    return [action.order.command for action in actions if isinstance(action, Publish)]


def states(actions: list[Action]) -> list[str]:
    """Return the states to which the run changes."""
    return [action.run.state for action in actions if isinstance(action, RunChanged)]


def lost(actions: list[Action]) -> list[str]:
    """Return the turrets that are lost."""
    return [action.member.uuid for action in actions if isinstance(action, TurretLost)]


def kept(actions: list[Action]) -> list[Member]:
    """Return the recorded states of turrets."""
    return [action.member for action in actions if isinstance(action, MemberChanged)]


def last_run(actions: list[Action]) -> RunState:
    """Return the last state of the run."""
    return [action.run for action in actions if isinstance(action, RunChanged)][-1]


def briefings(actions: list[Action]) -> list[Briefing]:
    """Return the briefings that are sent with orders."""
    found = [action.order.smartmob for action in actions if isinstance(action, Publish)]
    assert all(isinstance(briefing, Briefing) for briefing in found)
    return [briefing for briefing in found if isinstance(briefing, Briefing)]


def running(uuid: str = "u1") -> History:
    """Return a headquarters under which a turret of OCT fires."""
    history = History()
    history.ask()
    history.tell(oct_turret("ready", uuid))
    history.tell(oct_turret("Running", uuid))
    assert history.state == "running"
    return history
