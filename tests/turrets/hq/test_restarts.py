"""Runs of a headquarters that was restarted."""

from __future__ import annotations

from datetime import timedelta

import pytest

from smartmob.turrets.hq.machine_events import Committed, StopRequested
from tests.turrets.histories import NOON, RUN, History, briefings, oct_turret, orders, ours, running


class TestRestart:
    """The headquarters ends in the middle of a run, and another one takes it up."""

    def test_a_run_ends_in_time_after_a_restart(self) -> None:
        """No turret is lost for its silence during the restart."""
        history = running()
        history.pass_time(5, oct_turret("Running"))
        later = history.restart(away=8.0)
        assert (later.state, later.machine.seconds_since_start(later.now())) == ("running", pytest.approx(13))
        assert orders(later.said) == ["status_request"]
        later.pass_time(6, oct_turret("Running"))
        assert later.state == "running"
        later.tick(1.0)
        assert later.state == "draining"

    def test_a_run_whose_time_is_up_is_stopped_after_a_restart(self) -> None:
        """The turrets are stopped at once."""
        later = running().restart(away=3600.0)
        assert orders(later.tick()) == ["stop"]
        assert later.state == "draining"

    def test_a_run_has_fired_for_its_run_time_however_late_it_is_stopped(self) -> None:
        """Turrets of smartmob end by themselves; those of OCT go on until they are told to stop."""
        for turret, late in ((ours("ready"), False), (oct_turret("ready"), True)):
            history = History()
            history.ask()
            history.tell(turret)
            history.tick(0.5)
            later = history.restart(away=3600.0)
            assert later.machine.firing_seconds(later.now()) == 20.0
            later.tick()
            run = later.machine.run
            assert run is not None and run.started_at is not None
            assert (later.state, later.machine.firing_seconds(later.after(9).now())) == ("draining", 20.0)
            assert run.ceased_at == (
                NOON + timedelta(seconds=3600.5) if late else run.started_at + timedelta(seconds=20)
            )

    def test_a_stopped_run_has_fired_until_its_stop_after_a_restart(self) -> None:
        """The time in which the headquarters was away is not one of firing."""
        history = running()
        history.pass_time(3, oct_turret("Running"))
        history.tell(StopRequested("enough"))
        later = history.restart(away=15.0)
        assert (later.state, later.machine.firing_seconds(later.now())) == ("draining", 3.0)

    def test_a_clock_set_back_during_a_restart_does_not_prolong_the_run(self) -> None:
        """The run does not become longer than requested."""
        later = running().restart(away=-3600.0)
        assert later.machine.seconds_since_start(later.now()) == 0.0

    def test_a_waiting_run_asks_again_after_a_restart(self) -> None:
        """It starts when a turret is ready."""
        history = History()
        history.ask()
        later = history.restart(away=1.0)
        assert orders(later.said) == ["status_request"]
        later.tell(oct_turret("ready"))
        assert later.state == "running"

    def test_a_draining_run_waits_again_after_a_restart(self) -> None:
        """It ends when the turrets are quiet."""
        history = running()
        history.pass_time(20, oct_turret("Running"))
        later = history.restart(away=1.0)
        later.pass_time(1, oct_turret("ready"))
        assert later.state == "draining"
        later.pass_time(3, oct_turret("ready"))
        assert later.state == "finished"

    def test_stored_numbers_are_acknowledged_after_a_restart(self) -> None:
        """The next briefing has the numbers of the database."""
        history = History()
        history.ask()
        history.tell(ours("ready"))
        history.tick(0.5)
        later = history.restart(away=1.0)
        later.tell(ours("Running", run=RUN, sequence=9))
        later.tell(Committed("u1", RUN, 7))
        assert briefings(later.tick(1.0))[-1].acknowledged == {"u1": 7}
