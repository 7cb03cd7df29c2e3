"""The states of a process."""

from __future__ import annotations

from smartmob.processes import model


def test_every_state_has_one_place() -> None:
    """On the way, failed, or one of our four; none is named twice."""
    assert len(set(model.STATES)) == len(model.STATES) == 14
    assert not model.PREPARING & model.FAILURES


def test_the_seeds_states_keep_their_names() -> None:
    """Scripts compare with these words."""
    assert {
        *("pending", "downloading", "download failure", "unpacking", "processing", "no procfile"),
        *("unknown process type", "virtual environment failure", "pip install failure"),
    } <= set(model.STATES)
