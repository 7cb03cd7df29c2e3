"""The messages of an import."""

from __future__ import annotations

import pytest

from smartmob.errors import InvalidInput
from smartmob.turrets.protocol import MOST_TIMERS
from smartmob.turrets.result_files.imported_run import GivenStats, ImportHead
from tests.turrets.result_files.test_locust_tables import HISTORY_TABLE, STATS_TABLE, _read


def test_the_id_follows_from_the_content() -> None:
    """The name of the file and of the run do not matter."""
    heads = [ImportHead(format="x", digest="0" * 32, file=name, duration=1.0) for name in ("a", "b")]
    assert heads[0].run_id() == heads[1].run_id()
    assert heads[0].run_id() != ImportHead(format="x", digest="1" * 32, duration=1.0).run_id()


def test_given_statistics_in_parts_are_the_same_together() -> None:
    """They are sent timer by timer."""
    given, _ = _read(stats=STATS_TABLE, history=HISTORY_TABLE)
    whole = GivenStats()
    for part in given.parts():
        whole.add(part)
    assert whole == given


def test_too_many_timers_are_refused() -> None:
    """A client is not believed."""
    given, _ = _read(stats=STATS_TABLE)
    one = next(iter(given.timers.values()))
    with pytest.raises(InvalidInput, match="timers"):
        GivenStats().add(GivenStats(timers={str(number): one for number in range(MOST_TIMERS + 1)}))
