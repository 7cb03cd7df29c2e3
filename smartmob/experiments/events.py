"""The events that the feature `experiments` publishes."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from smartmob.experiments.stored_experiment import Summary


@dataclass(frozen=True, slots=True)
class ExperimentStored:
    """An experiment was stored."""

    summary: Summary


@dataclass(frozen=True, slots=True)
class ExperimentDeleted:
    """An experiment was deleted."""

    id: UUID
