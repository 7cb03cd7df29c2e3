"""The events that the headquarters' state machine handles, and the actions that it returns. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from smartmob.turrets.model import Member, RunConfig, State, visible_name
from smartmob.turrets.protocol import Order, Status


class Now(NamedTuple):
    """The present: `steady` is a monotonic time in seconds, `wall` the time of day, which can be set back."""

    steady: float
    wall: datetime


@dataclass(frozen=True, slots=True)
class Timeouts:
    """The times that the headquarters waits, in seconds.

    `lost_after`: a turret that is silent for longer is lost. `quiet`: stock turrets do not report which result is their
    last one, so a run of them ends when no result has come for so long. `drain`: a draining run ends after so long even
    if turrets are missing. `wait`: a waiting run fails after so long. `lead`: turrets of ours get the start so
    long before it.
    """

    lost_after: float = 10.0
    quiet: float = 3.0
    drain: float = 60.0
    wait: float = 600.0
    lead: float = 0.5


@dataclass(frozen=True, slots=True)
class RunState:
    """The state of a run, without its results; `ceased_at` is when its turrets were ordered to stop firing."""

    id: str
    config: RunConfig
    state: State
    created_at: datetime
    started_at: datetime | None = None
    ceased_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None
    stop_requested: bool = False

    @property
    def name(self) -> str:
        """Return the name under which the run is shown."""
        return visible_name(self.config.name, self.created_at)


@dataclass(frozen=True, slots=True)
class StatusReceived:
    """A turret sent a status."""

    status: Status


@dataclass(frozen=True, slots=True)
class ResultsReceived:
    """Results without a number came, as stock turrets send them."""


@dataclass(frozen=True, slots=True)
class Committed:
    """All messages of a turret of ours up to number `sequence` are stored."""

    uuid: str
    run: str
    sequence: int


@dataclass(frozen=True, slots=True)
class RunRequested:
    """A client asked for a run."""

    id: str
    config: RunConfig
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StopRequested:
    """A client asked for the end of the run."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed; `pending` results are not stored yet."""

    pending: int = 0


@dataclass(frozen=True, slots=True)
class Stalled:
    """The headquarters itself stood still for some seconds, in which it heard no turret."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Resumed:
    """The headquarters was restarted during a run, whose stored state this is.

    `acknowledged` has for each uuid the highest number that is stored with all before it.
    """

    run: RunState
    members: tuple[Member, ...]
    acknowledged: Mapping[str, int] = field(default_factory=dict)


Event = StatusReceived | ResultsReceived | Committed | RunRequested | StopRequested | Ticked | Stalled | Resumed


@dataclass(frozen=True, slots=True)
class Publish:
    """Send an order to all turrets."""

    order: Order


@dataclass(frozen=True, slots=True)
class RunChanged:
    """Record the new state of the run."""

    run: RunState


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """Record a turret of the run that is new, sent a status, was lost or came back."""

    run: str
    member: Member


@dataclass(frozen=True, slots=True)
class TurretLost:
    """Report a turret that was silent for too long."""

    run: str
    member: Member


Action = Publish | RunChanged | MemberChanged | TurretLost
