"""The search for the capacity of a target: the rate to fire next, and the finding from the outcomes so far. No I/O.

The search assumes that capacity is monotone: if the conditions hold at a rate, they hold at each lower one. It has
three phases. *Growing*: the rate is multiplied by `growth` until the conditions do not hold, or the bound is reached.
*Bisecting*: the geometric mean of the highest rate that held and the lowest that did not, until they are within
`resolution`. *Confirming*: the highest rate that held is repeated; if it does not hold most times, the next lower one.

One unlucky step decides nothing: a step that did not hold is repeated, and the first two equal outcomes decide.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import Literal

import msgspec

from smartmob.turrets.capacity.confidence import Interval95, wilson

Outcome = Literal["held", "broken", "saturated"]
"""The outcome of a step: the conditions held; the target broke them; the generator was at its limit."""

Ending = Literal["found", "bound", "generator", "not met", "unfinished"]
"""The end of a search: a bracket of a rate that held and one that the target did not sustain; each rate up to the bound
held; the generator was at its limit; the lowest rate did not hold; or the search ended early."""

MOST_TRIES = 3
"""Steps at one rate until it is decided: two equal outcomes of three."""
_DIGITS = 4  # significant digits of a rate


class SearchBounds(msgspec.Struct, frozen=True):
    """The limits of a search: rates in transactions per second; `resolution` is a share, such as 0.05.

    `growth` is the factor between the steps of the first phase; `repeats` steps confirm the result.
    """

    lowest: float
    highest: float
    growth: float = 2.0
    resolution: float = 0.05
    repeats: int = 3

    def __post_init__(self) -> None:
        if not 0 < self.lowest <= self.highest:
            raise ValueError("the lowest rate must be above 0 and not above the highest")
        if self.growth <= 1 or not 0 < self.resolution < 1 or self.repeats < 1:
            raise ValueError("growth must be above 1, the resolution between 0 and 1, repeats at least 1")

    @property
    def most_steps(self) -> int:
        """Return the maximum number of steps of a search."""
        growing = math.ceil(math.log(self.highest / self.lowest) / math.log(self.growth) - 1e-9) + 1
        ratio = math.log(self.growth) / math.log1p(self.resolution)
        bisecting = max(0, math.ceil(math.log2(ratio))) + 1 if ratio > 1 else 0
        return MOST_TRIES * (growing + bisecting) + self.repeats * (growing + bisecting)


class SearchOutcome(msgspec.Struct, frozen=True):
    """The result of a search, or of what was done of it.

    `held` is the highest rate that held, `refused` the lowest that did not, whose cause is `limit`. `holds` of the
    `steps` at the rate `held` held; `confidence` is the interval of the share of steps that hold there.
    """

    ending: Ending
    held: float | None
    refused: float | None
    limit: Outcome | None
    holds: int
    steps: int
    confidence: Interval95 | None


class CapacitySearch:
    """A search. Fire `rate`, pass the outcome to `add`, and repeat until `rate` is None."""

    def __init__(self, bounds: SearchBounds) -> None:
        self.bounds = bounds
        self.rate: float | None = bounds.lowest
        self._outcomes: dict[float, list[Outcome]] = {}
        self._held: list[float] = []  # rates that were decided as held, ascending
        self._refused: tuple[float, Outcome] | None = None
        self._confirming = False
        self._done = False

    def add(self, outcome: Outcome) -> None:
        """Add the outcome of the step at `rate`, and set `rate` to that of the next step, or to None at the end."""
        assert self.rate is not None, "the search is over"
        rate = self.rate
        outcomes = self._outcomes.setdefault(rate, [])
        outcomes.append(outcome)
        if self._confirming:
            self._confirm(rate, outcomes)
            return
        decided = decision(outcomes)
        if decided is None:
            return
        if decided == "held":
            self._held.append(rate)
        else:
            self._refused = rate, decided
        self._go_on()

    def finding(self) -> SearchOutcome:
        """Return the result so far."""
        held = self._held[-1] if self._held else None
        refused, limit = self._refused or (None, None)
        outcomes = self._outcomes.get(held, []) if held is not None else []
        holds, steps = outcomes.count("held"), len(outcomes)
        confidence = wilson(holds, steps) if steps else None
        return SearchOutcome(self._ending(), held, refused, limit, holds, steps, confidence)

    def _ending(self) -> Ending:
        if not self._done:
            return "unfinished"
        if self._refused is not None and self._refused[1] == "saturated":
            return "generator"
        if not self._held:
            return "not met"
        return "bound" if self._refused is None else "found"

    def _go_on(self) -> None:
        """Choose the next rate after a decision."""
        bounds = self.bounds
        if not self._held:
            self._end()
        elif self._refused is None:
            last = self._held[-1]
            if last >= bounds.highest:
                self._begin_to_confirm()
            else:
                self.rate = min(last * bounds.growth, bounds.highest)
        elif self._refused[0] / self._held[-1] <= 1 + bounds.resolution:
            self._begin_to_confirm()
        else:
            self.rate = _between(self._held[-1], self._refused[0])

    def _begin_to_confirm(self) -> None:
        self._confirming = True
        self.rate = self._held[-1]
        self._confirm(self.rate, self._outcomes[self.rate])

    def _confirm(self, rate: float, outcomes: Sequence[Outcome]) -> None:
        """Repeat a rate, end the search, or go on with the next lower rate that held."""
        held, wanted = outcomes.count("held"), max(self.bounds.repeats, len(outcomes))
        if 2 * (held + wanted - len(outcomes)) <= wanted:  # no majority is possible any more
            others = Counter(outcome for outcome in outcomes if outcome != "held")
            self._refused = rate, "saturated" if others["saturated"] > others["broken"] else "broken"
            self._held.pop()
            if self._held:
                self._begin_to_confirm()
            else:
                self._end()
        elif len(outcomes) >= self.bounds.repeats:
            self._end()

    def _end(self) -> None:
        self.rate, self._done = None, True


def decision(outcomes: Sequence[Outcome]) -> Outcome | None:
    """Return the outcome of a rate from its steps, or None if the rate has to be repeated.

    A rate whose first step held has held. Otherwise two steps with the same outcome decide.
    """
    if outcomes[0] == "held":
        return "held"
    found, count = Counter(outcomes).most_common(1)[0]
    if count >= 2:
        return found
    # Three different outcomes: the steps are unreliable, for which the generator is to blame.
    return "saturated" if len(outcomes) >= MOST_TRIES else None


def _between(low: float, high: float) -> float:
    """Return the geometric mean of two rates, with few digits if that is between them."""
    mean = math.sqrt(low * high)
    short = float(f"{mean:.{_DIGITS}g}")
    return short if low < short < high else mean
