"""Clock offsets that the client measures."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.client.clock_offset import exchange_result, measure
from smartmob.errors import RemoteError
from smartmob.kernel.runtime import clock


@pytest.mark.parametrize(
    ("stamps", "delay", "offset"),
    [
        ((0.0, 5.0, 5.0, 0.0), 0.0, 5.0),
        ((10.0, 10.1, 10.1, 10.2), 0.2, 0.0),
        ((10.0, 7.0, 7.5, 10.6), 0.1, -3.05),
        ((10.0, 10.0, 10.2, 10.1), 0.0, 0.05),
    ],
)
def test_the_offset_is_computed_as_in_rfc_5905(
    stamps: tuple[float, float, float, float], delay: float, offset: float
) -> None:
    """As RFC 5905 computes it; a delay is never negative."""
    assert exchange_result(*stamps) == (pytest.approx(delay), pytest.approx(offset))


async def test_a_clock_that_is_an_hour_behind_is_measured(client: Any) -> None:
    """A service tells its clock to who asks; one that is an hour behind learns so."""
    delay, offset = await measure(f"http://127.0.0.1:{client.server.port}", lambda: clock.epoch() - 3600)
    assert offset == pytest.approx(3600, abs=delay / 2 + 0.001)


async def test_a_missing_service_is_reported() -> None:
    """It is an error that names the address."""
    with pytest.raises(RemoteError, match=r"http://127\.0\.0\.1:1 does not answer with its clock"):
        await measure("http://127.0.0.1:1", clock.epoch)
