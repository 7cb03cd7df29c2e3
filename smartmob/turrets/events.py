"""The events that the feature `turrets` publishes on the bus."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunStarted:
    """The turrets of a run began to fire."""

    run_id: str
    name: str


@dataclass(frozen=True, slots=True)
class RunFinished:
    """A run ended; `state` is finished, failed or stopped."""

    run_id: str
    name: str
    state: str
    transactions: int
    errors: int


@dataclass(frozen=True, slots=True)
class TurretSilent:
    """A turret of a run was silent for too long, and is regarded as lost."""

    run_id: str
    uuid: str
    name: str
