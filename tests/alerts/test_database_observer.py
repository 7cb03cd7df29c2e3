"""Times in which the database could not be used."""

from __future__ import annotations

from smartmob.alerts.conditions import DatabaseLost
from smartmob.alerts.database_observer import BACK, DatabaseObserver
from tests.alerts.samples import NOW, rule


def test_an_outage_is_seen_once_when_it_was_long_enough() -> None:
    """It has its begin as the cause, so it is told once; a short one and one of another service are none."""
    observer = DatabaseObserver("lab")
    observer.lost(NOW, 42.0)
    [seen] = observer.observe(rule(), DatabaseLost(30.0)).found
    assert (seen.subject, seen.health, seen.value, seen.cause) == ("lab", "bad", 42.0, f"lab {NOW.isoformat()}")
    assert seen.summary == "lab: the database was unavailable for 42 s, starting at 2026-11-23T09:00:00Z"
    assert observer.observe(rule(), DatabaseLost(60.0)).found == ()
    assert observer.observe(rule(subjects=["other"]), DatabaseLost()).found == ()
    observer.commit()
    after = observer.observe(rule(), DatabaseLost())
    assert (after.found, after.complete, after.gone) == ((), True, BACK)
