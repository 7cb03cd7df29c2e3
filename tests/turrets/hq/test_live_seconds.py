"""The last seconds of a run: they are kept by second and timer, and not for long."""

from __future__ import annotations

from smartmob.turrets.hq.live_seconds import LiveSeconds
from smartmob.turrets.slices import Distribution
from tests.turrets.messages import slice_of


def test_parts_are_kept_by_second_and_timer() -> None:
    """Those of a timer are in the order of their addition."""
    live, folded, sent = LiveSeconds(), Distribution(), slice_of(3, [0.1])
    live.add(3, "", folded)
    live.add(3, "", sent)
    live.add(3, "page", sent)
    assert live.of(3) == {"": [folded, sent], "page": [sent]}
    assert live.of(4) == {}


def test_the_oldest_seconds_are_dropped() -> None:
    """Eight seconds are kept, whatever the order in which they come."""
    live = LiveSeconds()
    for second in (5, 1, 2, 3, 4, 9, 8, 7, 6):
        live.add(second, "", Distribution())
    assert len(live) == 8
    assert (live.of(1), list(live.of(2))) == ({}, [""])
