"""The data of the feature `marks`: notes at points in time, which the timeline shows."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated
from uuid import UUID

import msgspec

from smartmob.errors import InvalidInput

MAX_TEXT_CHARACTERS = 2_000
MAX_AUTHOR_CHARACTERS = 200


class Mark(msgspec.Struct, frozen=True, kw_only=True):
    """A note at the time `at`; `author` is the name that its sender gave, `made_at` the time when it arrived."""

    id: UUID
    at: datetime
    text: str
    author: str
    made_at: datetime


class NewMark(msgspec.Struct, frozen=True, kw_only=True):
    """A note to store. `at` is seconds since 1970, or ISO 8601 with an offset; by default the current time."""

    text: Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_TEXT_CHARACTERS)]
    at: str | float | None = None
    author: Annotated[str, msgspec.Meta(max_length=MAX_AUTHOR_CHARACTERS)] = ""


def one_line(name: str, text: str) -> str:
    """Return `text` without surrounding blanks. Raises InvalidInput at `name` if it is not one printable line."""
    text = text.strip()
    if not text.isprintable():
        raise InvalidInput.at(name, "expected one line of text, without control characters")
    return text
