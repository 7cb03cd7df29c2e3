"""Requests for reservations."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from smartmob.reservations.model import NewReservation


@pytest.mark.parametrize(
    "fields",
    [
        {"seconds": 0, "holder": "ann"},
        {"seconds": 7 * 86_400 + 1, "holder": "ann"},
        {"seconds": 60},
        {"seconds": 60, "holder": ""},
        {"seconds": 60, "holder": "an\nn"},
        {"seconds": 60, "holder": "ann", "reason": "\x1b[31m"},
        {"seconds": 60, "holder": "ann", "node": "n" * 65},
        {"seconds": 60, "holder": "ann", "machine": "rack7"},
    ],
)
def test_wrong_requests_are_refused(fields: dict[str, Any]) -> None:
    """Durations have bounds, texts are one line, and unknown fields are mistakes."""
    with pytest.raises(msgspec.ValidationError):
        msgspec.convert(fields, NewReservation)
