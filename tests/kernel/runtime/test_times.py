"""Times as clients write them."""

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
def test_times_that_are_understood(text: str, seconds: float) -> None:
    """Seconds, or ISO 8601 with an offset whose plus sign may have become a blank."""
    assert moment("from", text, datetime.fromtimestamp(5.0, UTC)).timestamp() == seconds


@pytest.mark.parametrize("text", ["x", "2026-11-23T02:13:20", "2026-11-23", "nan", "inf", "1e300", "-1e300"])
def test_times_that_are_refused(text: str) -> None:
    """What is no time, or does not say in which time zone, is refused by its name."""
    with pytest.raises(InvalidInput, match=r"^from: "):
        moment("from", text, datetime.now(UTC))


@pytest.mark.parametrize("text", [None, "", " "])
def test_no_time_is_the_default(text: str | None) -> None:
    """Which may be None."""
    assert moment("from", text, None) is None
