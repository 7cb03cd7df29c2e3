"""A run with `total_rate`, which the headquarters shares among its turrets."""

from __future__ import annotations

from tests.turrets.histories import History, briefings, oct_turret, ours, states


def test_turrets_get_equal_shares() -> None:
    """The shares are in each briefing of the run, and a turret that comes later starts nothing."""
    history = History()
    history.ask(min_turrets=2, total_rate=100.0)
    history.tell(ours("ready", uuid="u1"))
    actions = history.tell(ours("ready", uuid="u2"))
    assert states(actions) == ["running"]
    (briefing,) = briefings(actions)
    assert briefing.run is not None
    assert briefing.run.rates == {"u1": 50.0, "u2": 50.0}
    assert [briefing.run.rate_of(uuid) for uuid in ("u1", "u3")] == [50.0, 0.0]


def test_without_a_rate_turrets_keep_their_own() -> None:
    """Nothing is in the briefing."""
    history = History()
    history.ask()
    (briefing,) = briefings(history.tell(ours("ready")))
    assert briefing.run is not None
    assert (briefing.run.rates, briefing.run.rate_of("u1")) == (None, None)


def test_a_turret_that_takes_no_rate_fails_the_run() -> None:
    """It could fire any load; before, it has seconds to report, since one of ours waits for its first order."""
    history = History()
    history.ask(total_rate=100.0)
    assert states(history.tell(oct_turret("ready"))) == []
    history.after(3)
    assert states(history.tell(oct_turret("ready"))) == ["failed"]
    assert history.machine.run is not None
    assert "takes no rate" in str(history.machine.run.reason)


def test_a_turret_that_comes_late_has_the_same_seconds_to_report() -> None:
    """They count from its first status, however long the run has waited for it."""
    history = History()
    history.ask(total_rate=100.0)
    history.after(60)
    assert states(history.tell(oct_turret("ready"))) == []
    history.after(2)
    assert states(history.tell(oct_turret("ready"))) == []
    history.after(1)
    assert states(history.tell(oct_turret("ready"))) == ["failed"]


def test_a_late_turret_that_reports_in_time_fires() -> None:
    """Its first status came before its first order, without a report."""
    history = History()
    history.ask(total_rate=100.0)
    history.after(60)
    assert states(history.tell(oct_turret("ready"))) == []
    assert states(history.tell(ours("ready"))) == ["running"]
