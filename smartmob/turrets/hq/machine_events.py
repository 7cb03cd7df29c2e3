"""What happens to the headquarters, and what its machine wants done about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import NamedTuple

from smartmob.turrets.model import Member, RunConfig, State
from smartmob.turrets.protocol import Order, Status


class Now(NamedTuple):
    """The present: `steady` never goes back, `wall` is what clocks show."""

    steady: float
    wall: datetime


@dataclass(frozen=True, slots=True)
class Rules:
    """How patient the headquarters is, in seconds.

    A turret is lost that is silent for `lost_after`. Stock turrets do not tell their last result, so it is waited until
    none has come for `quiet`. A run that drains is ended after `drain` whoever is missing, and one that waits after
    `wait`. Turrets of ours are told of the start `lead` before it.
    """

    lost_after: float = 10.0
    quiet: float = 3.0
    drain: float = 60.0
    wait: float = 600.0
    lead: float = 0.5


@dataclass(frozen=True, slots=True)
class RunState:
    """What is known of a run besides its results."""

    id: str
    config: RunConfig
    state: State
    created_at: datetime
    started_at: datetime | None = None
    ceased_at: datetime | None = None
    ended_at: datetime | None = None
    reason: str | None = None
    stop_asked: bool = False


@dataclass(frozen=True, slots=True)
class StatusHeard:
    """A turret told its status."""

    status: Status


@dataclass(frozen=True, slots=True)
class ResultsHeard:
    """Results came one by one, as stock turrets send them."""


@dataclass(frozen=True, slots=True)
class Committed:
    """All messages of a turret of ours up to number `sequence` are stored."""

    uuid: str
    run: str
    sequence: int


@dataclass(frozen=True, slots=True)
class RunAsked:
    """Somebody wants a run."""

    id: str
    config: RunConfig
    created_at: datetime


@dataclass(frozen=True, slots=True)
class StopAsked:
    """Somebody wants the run to end."""

    reason: str


@dataclass(frozen=True, slots=True)
class Ticked:
    """Time has passed; `pending` results are not stored yet."""

    pending: int = 0


@dataclass(frozen=True, slots=True)
class Resumed:
    """The headquarters was started again while a run was on; this is how it was."""

    run: RunState
    members: tuple[Member, ...]
    acknowledged: Mapping[str, int] = field(default_factory=dict)


Event = StatusHeard | ResultsHeard | Committed | RunAsked | StopAsked | Ticked | Resumed


@dataclass(frozen=True, slots=True)
class Publish:
    """Send an order to everybody."""

    order: Order


@dataclass(frozen=True, slots=True)
class RunChanged:
    """The run has another state: keep it."""

    run: RunState


@dataclass(frozen=True, slots=True)
class MemberChanged:
    """A turret of the run is new, says something else, was lost or has come back: keep it."""

    run: str
    member: Member


@dataclass(frozen=True, slots=True)
class TurretLost:
    """A turret was silent for too long."""

    run: str
    member: Member


Action = Publish | RunChanged | MemberChanged | TurretLost
