"""The clocks of turrets that send the time of day."""

from __future__ import annotations

import pytest

from smartmob.turrets.hq.turret_clocks import TurretClocks, true_epoch

STARTED = 1_795_521_600.0


@pytest.mark.parametrize(
    ("epoch", "elapsed", "wrong"),
    [
        (STARTED + 5, 5.4, False),
        (STARTED + 9, 2.0, False),
        (STARTED + 5, 7.0, True),
        (STARTED + 12, 2.0, True),
    ],
)
def test_a_turret_began_after_the_run_and_sends_no_results_of_the_future(
    epoch: float, elapsed: float, wrong: bool
) -> None:
    """Whole seconds and the time of a message are allowed for; a turret may come late."""
    assert TurretClocks().is_wrong(epoch, elapsed, STARTED, STARTED + 10) == wrong


def test_the_fastest_delivery_tells_when_a_turret_began() -> None:
    """A result that was delayed is placed by those that were not, and each clock by its own."""
    clocks = TurretClocks()
    begun = STARTED - 3600
    assert clocks.moment(begun + 1, 1.0, STARTED + 1.5) == STARTED + 1.5
    assert clocks.moment(begun + 2, 2.0, STARTED + 2.0) == STARTED + 2.0
    assert clocks.moment(begun + 3, 3.0, STARTED + 9.0) == STARTED + 3.0
    assert clocks.moment(STARTED + 100, 1.0, STARTED + 4.0) == STARTED + 4.0
    assert clocks.offset == pytest.approx(-3600, abs=1)


def test_the_number_of_clocks_is_bounded() -> None:
    """Results of further ones are placed at their arrival."""
    clocks = TurretClocks()
    for number in range(1000):
        clocks.moment(STARTED - 10 * number, 0.0, STARTED + 5)
    assert clocks.moment(0.0, 3.0, STARTED + 5) == STARTED + 5


@pytest.mark.parametrize(
    ("epoch", "moment", "numbered", "told"),
    [
        (STARTED + 5, STARTED + 5.25, False, STARTED + 5),
        (STARTED - 1, STARTED, False, STARTED - 1),
        (STARTED + 5 - 3600, STARTED + 5.25, False, STARTED + 5.25),
        (STARTED + 5 + 3600, STARTED + 5.25, False, STARTED + 5.25),
        (STARTED + 5, STARTED + 5.25, True, STARTED + 5),
        (STARTED + 5.25, STARTED + 5.25, True, STARTED + 5.25),
        (STARTED + 4, STARTED + 5.25, True, STARTED + 5),
        (STARTED + 5 - 3600, STARTED + 5.25, True, STARTED + 5),
    ],
)
def test_exports_have_the_time_of_the_headquarters_where_a_clock_is_wrong(
    epoch: float, moment: float, numbered: bool, told: float
) -> None:
    """A right time stays as it came; a wrong one becomes that of the result, in whole seconds for our turrets."""
    assert true_epoch(epoch, moment, numbered=numbered) == told
