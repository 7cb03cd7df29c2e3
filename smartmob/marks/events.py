"""The events that the feature `marks` publishes."""

from __future__ import annotations

from uuid import UUID

import msgspec

from smartmob.marks.model import Mark


class MarkCreated(msgspec.Struct, frozen=True):
    """A mark was stored."""

    mark: Mark


class MarkDeleted(msgspec.Struct, frozen=True):
    """A mark was deleted."""

    id: UUID
