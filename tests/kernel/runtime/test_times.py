"""Parsing the times of clients."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from smartmob.errors import InvalidInput
from smartmob.kernel.runtime.times import moment

NOW = 1_795_400_000.0


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1795400000", NOW),
        ("1795400000.25", NOW + 0.25),
        ("2026-11-23T02:13:20Z", NOW),
        ("2026-11-23T03:13:20+01:00", NOW),
        ("2026-11-23T03:13:20 01:00", NOW),
        ("", 5.0),
    ],
)
def test_seconds_and_iso_8601_with_an_offset_are_parsed(text: str, seconds: float) -> None:
    """The plus sign of an offset may have become a blank."""
    assert moment("from", text, datetime.fromtimestamp(5.0, UTC)).timestamp() == seconds


@pytest.mark.parametrize("text", ["x", "2026-11-23T02:13:20", "2026-11-23", "nan", "inf", "1e300", "-1e300"])
def test_other_texts_are_refused_with_the_name_of_the_field(text: str) -> None:
    """A time without a zone is one of them."""
    with pytest.raises(InvalidInput, match=r"^from: "):
        moment("from", text, datetime.now(UTC))


@pytest.mark.parametrize("text", [None, "", " "])
def test_a_blank_text_returns_the_default(text: str | None) -> None:
    """The default may be None."""
    assert moment("from", text, None) is None
