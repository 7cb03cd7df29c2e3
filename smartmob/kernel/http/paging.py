"""Pages of a listing: by number, as the clients of the test metrics expect them, and by cursor (the key of a row)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode
from uuid import UUID

import msgspec

from smartmob.errors import InvalidInput, NotFound


class Page(msgspec.Struct, frozen=True):
    """One page of `size` rows: `number` counts from 1, `offset` rows precede it, and there are `total` pages."""

    number: int
    size: int
    offset: int
    total: int

    @property
    def previous(self) -> int | None:
        """Return the number of the previous page, or None."""
        return self.number - 1 if self.number > 1 else None

    @property
    def next(self) -> int | None:
        """Return the number of the next page, or None."""
        return self.number + 1 if self.number < self.total else None


def parse(text: str | None) -> int:
    """Return the page number that a client asks for; any text that is not a number means the first page."""
    # int() also accepts blanks, underscores and digits of other scripts; no client of this protocol sends them.
    digits = (text or "").removeprefix("-")
    return int(text or "") if digits.isascii() and digits.isdigit() and len(digits) < 19 else 1


def page(wanted: int, rows: int, size: int) -> Page:
    """Return page number `wanted` of a listing of `rows` rows; a negative number counts from the end, -1 is the last.

    A listing without rows has one empty page. Raises NotFound for 0 and for a page that does not exist.
    """
    total = max(1, -(-rows // size))
    number = total + wanted + 1 if wanted < 0 else wanted
    if not 1 <= number <= total:
        raise NotFound(f"there is no page {wanted}: the listing has {total} page{'s' if total > 1 else ''}")
    return Page(number, size, (number - 1) * size, total)


def links(path: str, query: Mapping[str, str], at: Page, always: bool) -> dict[str, Any]:
    """Return `prev_url`, `next_url` and `total_page`; the URLs keep the other arguments of the query.

    A URL that does not exist is None with `always`, and absent without it.
    """
    found: dict[str, Any] = {}
    for key, number in (("prev_url", at.previous), ("next_url", at.next)):
        if number is not None:
            found[key] = f"{path}?{urlencode({**query, 'page': number})}"
        elif always:
            found[key] = None
    found["total_page"] = at.total
    return found


def cursor(*key: str) -> str:
    """Return the key of a row as an opaque text; the next page begins after that row."""
    return base64.urlsafe_b64encode(json.dumps(key).encode()).decode().rstrip("=")


def parse_cursor(text: str, parts: int, argument: str = "before") -> list[str]:
    """Return the key of `parts` texts from which `cursor` made `text`; raises InvalidInput that names the argument."""
    try:
        key = json.loads(base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True))
    except (ValueError, UnicodeError, RecursionError):
        key = None
    if not isinstance(key, list) or len(key) != parts or not all(isinstance(part, str) for part in key):
        raise _invalid_cursor(argument)
    return key


def parse_row_cursor(text: str, argument: str = "before") -> tuple[datetime, UUID]:
    """Return the key of a cursor that consists of a time and an id; raises InvalidInput."""
    at, ident = parse_cursor(text, 2, argument)
    try:
        return datetime.fromisoformat(at).astimezone(UTC), UUID(ident)
    except (ValueError, OverflowError):
        raise _invalid_cursor(argument) from None


def _invalid_cursor(argument: str) -> InvalidInput:
    return InvalidInput.at(argument, "this is not a cursor of an earlier answer; take it from next_url")
