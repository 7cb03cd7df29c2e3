"""What happens in the feature `marks`, as it is told on the bus."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID

from smartmob.marks.model import Mark


@dataclass(frozen=True, slots=True)
class MarkAdded:
    """A mark was added."""

    mark: Mark


@dataclass(frozen=True, slots=True)
class MarkRemoved:
    """A mark was removed."""

    id: UUID
