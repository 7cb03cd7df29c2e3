"""Values that follow from the measures of one test in one process."""

from __future__ import annotations

import pytest

from smartmob.experiments.model import Measure


def _measure(wall: tuple[int, ...] = (9, 5, 7, 6), cpu: int = 4, queue: tuple[int, ...] = (0, 0, 1, 0)) -> Measure:
    return Measure("test_a.py::test", "passed", wall=list(wall), cpu=[cpu] * len(wall), queue=list(queue))


def test_the_first_call_is_left_out() -> None:
    """The time is the median of the others, without the time of waiting for a processor."""
    assert _measure().own_ns == 6
    assert _measure((9,), 4, (1,)).own_ns == 8


def test_waiting_for_a_processor_is_told_from_other_waiting() -> None:
    """Waiting for a processor and waiting for something else are told apart."""
    measure = _measure((100, 100), 40, (20, 20))
    assert measure.queue_share == pytest.approx(0.2)
    assert measure.idle_share == pytest.approx(0.5)


def test_one_call_that_waited_does_not_spoil_the_others() -> None:
    """Another program that took the processor during one call of several changes neither time nor share."""
    measure = _measure((100, 100, 9000, 100), 90, (0, 0, 8900, 0))
    assert measure.queue_share == 0
    assert measure.own_ns == 100


def test_a_measure_without_times_is_not_used() -> None:
    """A test that was skipped or failed has none that count."""
    assert _measure().is_usable
    assert not Measure("t", "skipped").is_usable
    assert not Measure("t", "failed", wall=[1], cpu=[1], queue=[0]).is_usable
