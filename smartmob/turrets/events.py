"""The events that the feature `turrets` publishes on the bus."""

from __future__ import annotations

import msgspec


class RunStarted(msgspec.Struct, frozen=True):
    """The turrets of a run began to fire."""

    run_id: str
    name: str


class RunFinished(msgspec.Struct, frozen=True):
    """A run ended; `state` is finished, failed or stopped."""

    run_id: str
    name: str
    state: str
    transactions: int
    errors: int


class TurretSilent(msgspec.Struct, frozen=True):
    """A turret of a run was silent for too long, and counts as lost."""

    run_id: str
    uuid: str
    name: str
