"""The states of a process."""

from __future__ import annotations

from smartmob.processes import model


def test_states_are_unique_and_a_preparing_state_is_no_failure() -> None:
    """There are 17 states, and no name occurs twice."""
    assert len(set(model.STATES)) == len(model.STATES) == 17
    assert not model.PREPARING & model.FAILURES


def test_the_states_of_smartmob_agent_keep_their_names() -> None:
    """Scripts compare with these texts (seed 002)."""
    assert {
        *("pending", "downloading", "download failure", "unpacking", "processing", "no procfile"),
        *("unknown process type", "virtual environment failure", "pip install failure"),
    } <= set(model.STATES)
