"""Start times of cannons (rampup) and of transactions (open model), in seconds since the start of the run. No I/O."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Annotated

import msgspec

from smartmob.errors import InvalidInput
from smartmob.turrets.protocol import RateStage

Rate = Annotated[float, msgspec.Meta(ge=0, le=10_000_000)]
Duration = Annotated[float, msgspec.Meta(gt=0, le=31 * 86_400)]


class Stage(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A stage of the open model: `seconds` at a steady `rate`, or from the rate `from` to the rate `to`, evenly.

    Only the last stage may leave out `seconds`. Its final rate holds for the rest of the run.
    """

    seconds: Duration | None = None
    rate: Rate | None = None
    first: Rate | None = msgspec.field(default=None, name="from")
    last: Rate | None = msgspec.field(default=None, name="to")


def rampup(index: int, cannons: int, seconds: float) -> float:
    """Return the start of the cannon with this index (from 0): starts are evenly spaced, the first at 0 seconds."""
    return index * seconds / cannons


class Arrivals:
    """The intended starts of the open model: arrival k (from 0) is when the integral of the rate reaches k."""

    def __init__(self, stages: Sequence[tuple[float, float, float]]) -> None:
        """Create the schedule from stages of (seconds, first rate, last rate); the very last rate holds afterwards."""
        self._stages: list[tuple[float, float, float, float, float]] = []
        begin, before = 0.0, 0.0
        for seconds, first, last in stages:
            self._stages.append((begin, before, seconds, first, last))
            begin, before = begin + seconds, before + seconds * (first + last) / 2
        self._stages.append((begin, before, math.inf, stages[-1][2], stages[-1][2]))

    @classmethod
    def of(cls, rate: float | Sequence[Stage]) -> Arrivals:
        """Return the arrivals for the setting `rate`; raises InvalidInput that names the stage."""
        return cls([(stage.seconds, stage.first, stage.last) for stage in stages_of(rate)])

    def due(self, seconds: float) -> int:
        """Return how many arrivals are due before this time, which is the index of the next one."""
        if seconds <= 0:
            return 0
        begin, before, length, first, last = next(
            stage for stage in reversed(self._stages) if stage[0] < seconds or stage[0] == 0.0
        )
        inside = seconds - begin
        slope = 0.0 if math.isinf(length) or not length else (last - first) / length
        return math.ceil(round(before + inside * (first + slope * inside / 2), 9))

    def from_index(self, index: int, step: int = 1) -> Iterator[float]:
        """Yield the times of the arrivals index, index + step, …; end when the rate stays 0."""
        for stage, (begin, before, length, first, last) in enumerate(self._stages):
            after = self._stages[stage + 1][1] if stage + 1 < len(self._stages) else math.inf
            slope = 0.0 if math.isinf(length) or not length else (last - first) / length
            # An arrival exactly at the end of a stage belongs to the next stage with a rate above 0.
            while index < after and (first or slope):
                inside = _inverse(index - before, first, slope)
                yield begin + min(inside, length)
                index += step


def stages_of(rate: float | Sequence[Stage]) -> list[RateStage]:
    """Return the stages of the setting `rate`; raises InvalidInput that names the stage."""
    if isinstance(rate, int | float):
        return [RateStage(0.0, rate, rate)]
    if not rate:
        raise InvalidInput.at("$.rate", "at least one stage is needed")
    stages = []
    for index, stage in enumerate(rate):
        where = f"$.rate[{index}]"
        if stage.seconds is None and index < len(rate) - 1:
            raise InvalidInput.at(where, "only the last stage may leave out seconds")
        if stage.rate is not None and stage.first is None and stage.last is None:
            stages.append(RateStage(stage.seconds or 0.0, stage.rate, stage.rate))
        elif stage.rate is None and stage.first is not None and stage.last is not None and stage.seconds:
            stages.append(RateStage(stage.seconds, stage.first, stage.last))
        else:
            raise InvalidInput.at(where, 'a stage has either "rate", or "seconds", "from" and "to"')
    return stages


def _inverse(wanted: float, first: float, slope: float) -> float:
    """Return the t at which first * t + slope * t² / 2 reaches `wanted`."""
    wanted = max(wanted, 0.0)
    root = math.sqrt(max(first * first + 2 * slope * wanted, 0.0))
    return 2 * wanted / (first + root) if first + root else 0.0
