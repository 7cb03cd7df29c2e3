"""The result of a bisection, and the answers that led to it. No I/O."""

from __future__ import annotations

import math
from typing import Literal

import msgspec

from smartmob.experiments.model import VerdictOnTest

Answer = Literal["changed", "unchanged", "cannot be told", "skipped"]
Outcome = Literal["found", "several", "not found", "same", "undecided", "only in good", "interrupted"]


class BisectionStep(msgspec.Struct, frozen=True):
    """The measurement of a commit beside the good one; `ratio` is commit / good, measured by `witness`."""

    commit: str
    answer: Answer
    witness: str = ""
    ratio: float | None = None
    low: float | None = None
    high: float | None = None
    pairs: int = 0
    seconds: float = 0.0
    reason: str = ""


class Candidate(msgspec.Struct, frozen=True):
    """A commit that may be the changed one, with the probability that it is."""

    commit: str
    short: str
    author: str
    time: str
    subject: str
    probability: float


class BisectionReport(msgspec.Struct, frozen=True):
    """The result of a bisection.

    `direction` is the direction of the change from good to bad; `confidence` is the probability that one of the
    `candidates` is the changed commit. With `found` it has one candidate; with `several`, those that cannot be
    distinguished because they cannot be measured; with `interrupted`, those that are left.
    """

    verdict: Outcome
    direction: Literal["slower", "faster", ""]
    test: str
    good: str
    bad: str
    candidates: list[Candidate]
    confidence: float
    commits: int
    contradictions: int
    steps: list[BisectionStep]
    seconds: float
    ended: str
    notes: list[str] = []


def measured_ratio(found: VerdictOnTest, witness: str) -> float | None:
    """Return head / base by the witness `clock` or `instructions`, or None if it has none."""
    if witness == "instructions":
        return None if found.instructions is None else found.instructions.ratio
    return found.ratio


def half_way(ends: VerdictOnTest) -> float:
    """Return the logarithm of the ratio above which a commit counts as changed: half of the logarithm for the ends."""
    ratio = measured_ratio(ends, ends.witness)
    assert ratio is not None
    return math.log(ratio) / 2


def is_changed(found: VerdictOnTest, ends: VerdictOnTest) -> bool | None:
    """Return whether a commit has the change of the ends, or None if it cannot be decided.

    The decision is that of an experiment. The size of a difference counts too, because other commits in between may
    also have changed the test.
    """
    if found.verdict == "same":
        return False
    if found.verdict not in ("slower", "faster"):
        return None
    ratio, limit = measured_ratio(found, found.witness), half_way(ends)
    if ratio is None:
        return None
    direction = 1 if limit > 0 else -1
    return direction * math.log(ratio) >= abs(limit)
