"""Test runs in words: the name of a run, which is the same on each page and in the terminal, and its machines."""

from __future__ import annotations

from smartmob.console import model
from smartmob.metrics.model import Run
from smartmob.verdict_words import SHORT


def run_name(ident: str, scm_ref: str) -> str:
    """Return the name of a test run: its id, and its commit."""
    return f"{ident[:SHORT]} ({scm_ref[:SHORT]})" if scm_ref else ident[:SHORT]


def run_machines(run: Run | model.TestRun) -> list[str]:
    """Return the machines of a test run: the identified ones, or else the host names that its sessions sent."""
    return list(dict.fromkeys(place.name for place in run.places)) or run.nodes
