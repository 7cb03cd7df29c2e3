"""The events that the feature `marks` publishes."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from smartmob.marks.model import Mark


@dataclass(frozen=True, slots=True)
class MarkCreated:
    """A mark was stored."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class MarkDeleted:
    """A mark was deleted."""

    id: UUID
