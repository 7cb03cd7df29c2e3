"""The reservation that clients show."""

from __future__ import annotations

from smartmob.client.reservation import HEADER, Shown
from smartmob.kernel.auth import reservation_guard


def test_a_reservation_is_a_header() -> None:
    """It is the one that the service reads; without a reservation there is none."""
    assert Shown("abc").headers() == {reservation_guard.HEADER: "abc"} == {HEADER: "abc"}
    assert Shown().headers() == {}
