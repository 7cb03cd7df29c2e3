"""The fast decoding of results of turrets of OCT."""

from __future__ import annotations

import pytest

from smartmob.turrets.hq.oct_results import decode_oct_results
from tests.turrets.messages import oct_result, oct_status


def test_results_are_decoded_in_their_order() -> None:
    """Each frame is one result."""
    frames = [oct_result(scriptrun_time=number / 10) for number in range(3)]
    assert [result.scriptrun_time for result in decode_oct_results(frames)] == [0.0, 0.1, 0.2]


@pytest.mark.parametrize(
    "frames",
    [
        [],
        [b"nonsense"],
        [oct_result(), oct_status("ready")],
        [oct_result() + b"\n" + oct_result()],
        [oct_result()[:20], oct_result()[20:]],
        [oct_result(sequence=1)],
    ],
)
def test_any_other_frame_is_left_to_the_slow_decoder(frames: list[bytes]) -> None:
    """Nothing is decoded if a frame is not exactly one documented result."""
    assert decode_oct_results(frames) == []
