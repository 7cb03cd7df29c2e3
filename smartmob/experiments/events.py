"""The events that the feature `experiments` publishes."""

from __future__ import annotations

from uuid import UUID

import msgspec

from smartmob.experiments.stored_experiment import ExperimentSummary


class ExperimentStored(msgspec.Struct, frozen=True):
    """An experiment was stored."""

    summary: ExperimentSummary


class ExperimentDeleted(msgspec.Struct, frozen=True):
    """An experiment was deleted."""

    id: UUID
