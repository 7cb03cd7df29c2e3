"""Verdicts on a test as an experiment gives them."""

from __future__ import annotations

from smartmob.experiments.model import Instructions, Verdict, VerdictOnTest


def by_clock(verdict: Verdict, ratio: float | None, name: str = "test_x") -> VerdictOnTest:
    """Return a verdict of the clock."""
    low, high = (None, None) if ratio is None else (ratio * 0.9, ratio * 1.1)
    witness = "" if verdict in ("undecided", "unfit") else "clock"
    return VerdictOnTest(name, verdict, witness, verdict, ratio, low, high, ratio, 12, 0, 1.0, ratio)


def by_instructions(verdict: Verdict, ratio: float, clock_ratio: float = 1.0) -> VerdictOnTest:
    """Return a verdict of the instructions; the clock cannot tell."""
    counted = Instructions("more" if ratio > 1 else "fewer", 1000, int(1000 * ratio), ratio, 0.0)
    return VerdictOnTest(
        "test_x", verdict, "instructions", "undecided", clock_ratio, None, None, 1.0, 5, 0, 1.0, 1.0, counted
    )
