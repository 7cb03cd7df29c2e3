"""The fast decoding of results of stock turrets."""

from __future__ import annotations

import pytest

from smartmob.turrets.hq.stock_results import decode_stock_results
from tests.turrets.messages import stock_result, stock_status


def test_results_are_decoded_in_their_order() -> None:
    """Each frame is one result."""
    frames = [stock_result(scriptrun_time=number / 10) for number in range(3)]
    assert [result.scriptrun_time for result in decode_stock_results(frames)] == [0.0, 0.1, 0.2]


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"nonsense"],
        [stock_result(), stock_status("ready")],
        [stock_result() + b"\n" + stock_result()],
        [stock_result()[:20], stock_result()[20:]],
        [stock_result(sequence=1)],
    ],
)
def test_any_other_frame_is_left_to_the_slow_decoder(frames: list[bytes]) -> None:
    """Nothing is decoded if a frame is not exactly one documented result."""
    assert decode_stock_results(frames) == []
