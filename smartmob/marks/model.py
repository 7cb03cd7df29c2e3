"""What a mark is: a note at a moment, for whoever looks at the timeline later."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from smartmob.errors import InvalidInput

LONGEST_TEXT = 2_000
LONGEST_AUTHOR = 200


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A note at a moment; `author` is whoever its sender says, and `made_at` when it was sent."""

    id: UUID
    at: datetime
    text: str
    author: str
    made_at: datetime


class NewMark(msgspec.Struct, frozen=True, kw_only=True):
    """A note to keep. `at` is seconds since 1970 or ISO 8601 with an offset, and without it the present."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=LONGEST_TEXT)]
    at: str | float | None = None
    author: Annotated[str, msgspec.Meta(max_length=LONGEST_AUTHOR)] = ""


def shown(name: str, text: str) -> str:
    """Return `text` without blanks at its ends; raises InvalidInput for one that cannot be shown on one line."""
    text = text.strip()
    if not text.isprintable():
        raise InvalidInput.at(name, "expected one line of text, without control characters")
    return text
