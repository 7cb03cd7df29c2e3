"""The events that the headquarters' state machine handles, and the actions that it returns. No I/O."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import NamedTuple

import msgspec

from smartmob.turrets.model import Member, RunConfig, State, visible_name
from smartmob.turrets.protocol import Order, Status


class Now(NamedTuple):
    """The present: `steady` is a monotonic time in seconds, `wall` the time of day, which can be set back."""

    steady: float
    wall: datetime


class Timeouts(msgspec.Struct, frozen=True):
    """The times that the headquarters waits, in seconds.

    `lost_after`: a turret that is silent for longer is lost. `quiet`: turrets of OCT do not report which result is the
    last one, so a run of them ends when no result has arrived for this time. `drain`: a draining run ends after this
    time even if turrets are missing. `wait`: a waiting run fails after this time. `lead`: turrets of smartmob get the
    start time this much in advance.
    """

    lost_after: float = 10.0
    quiet: float = 3.0
    drain: float = 60.0
    wait: float = 600.0
    lead: float = 0.5


class RunState(msgspec.Struct, frozen=True):
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


class StatusReceived(msgspec.Struct, frozen=True):
    """A turret sent a status."""

    status: Status


class ResultsReceived(msgspec.Struct, frozen=True):
    """Results without a number arrived, as turrets of OCT send them."""


class Committed(msgspec.Struct, frozen=True):
    """All messages of a turret of smartmob up to number `sequence` are stored."""

    uuid: str
    run: str
    sequence: int


class RunRequested(msgspec.Struct, frozen=True):
    """A client asked for a run."""

    id: str
    config: RunConfig
    created_at: datetime


class StopRequested(msgspec.Struct, frozen=True):
    """A client asked for the end of the run."""

    reason: str


class Ticked(msgspec.Struct, frozen=True):
    """Time has passed; `pending` results are not stored yet."""

    pending: int = 0


class Stalled(msgspec.Struct, frozen=True):
    """The headquarters itself stood still for some seconds, in which it heard no turret."""

    seconds: float


class Resumed(msgspec.Struct, frozen=True):
    """The headquarters was restarted during a run, whose stored state this is.

    `acknowledged` has for each uuid the highest number that is stored with all before it.
    """

    run: RunState
    members: tuple[Member, ...]
    acknowledged: Mapping[str, int] = msgspec.field(default_factory=dict)


Event = StatusReceived | ResultsReceived | Committed | RunRequested | StopRequested | Ticked | Stalled | Resumed


class Publish(msgspec.Struct, frozen=True):
    """Send an order to all turrets."""

    order: Order


class RunChanged(msgspec.Struct, frozen=True):
    """Record the new state of the run."""

    run: RunState


class MemberChanged(msgspec.Struct, frozen=True):
    """Record a turret of the run that is new, sent a status, was lost or came back."""

    run: str
    member: Member


class TurretLost(msgspec.Struct, frozen=True):
    """Report a turret that was silent for too long."""

    run: str
    member: Member


Action = Publish | RunChanged | MemberChanged | TurretLost
