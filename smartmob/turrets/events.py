"""What happens in the feature `turrets`, as it is told on the bus."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The turrets of a run began to fire."""

    run_id: str
    name: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run is over: `state` is finished, failed or stopped."""

    run_id: str
    name: str
    state: str
    transactions: int
    errors: int


@dataclass(frozen=True, slots=True)
class TurretSilent:
    """A turret of a run was silent for too long."""

    run_id: str
    uuid: str
    name: str
