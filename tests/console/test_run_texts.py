"""Test runs in words."""

from __future__ import annotations

from datetime import UTC, datetime

from smartmob.console.run_texts import run_machines, run_name
from smartmob.metrics.model import Place, Run

NOW = datetime(2026, 11, 29, tzinfo=UTC)


def test_a_run_has_one_name() -> None:
    """Its id and its commit, both short; a run without a commit has its id alone."""
    assert run_name("ab" * 16, "0123456789abcdef") == "abababababab (0123456789ab)"
    assert run_name("nightly-7", "") == "nightly-7"


def test_the_machines_of_a_run_are_those_that_were_found() -> None:
    """The name that the plugin sent counts only while nothing better is known."""
    place = Place("rack7", "address", "3.11", "by its address", None, "rack7")
    found = [place, Place("rack7", "address", "3.12", "by its address", None, "rack7")]
    for places, expected in ((found, ["rack7"]), ([], ["localhost"])):
        run = Run("r", NOW, NOW, "c", [], ["localhost"], ["h"], [], 0, None, places, None)
        assert run_machines(run) == expected
