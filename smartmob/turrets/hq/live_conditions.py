"""The conditions of a run while it fires: the sums of their timers, and the decision whether one of them aborts the
run. No I/O.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from smartmob.errors import InvalidInput, SettingsError
from smartmob.turrets.conditions import ALL, KEY, RATE_SECONDS, PlannedCondition, RunCondition, abort_reason, planned
from smartmob.turrets.model import ConditionResult, RunConfig, TurretConfig
from smartmob.turrets.outcomes import Outcomes
from smartmob.turrets.protocol import Slice
from smartmob.turrets.report.findings import timer_stats
from smartmob.turrets.slices import TRANSACTION

DELAY_SECONDS = 5.0
"""The longest time after which results are counted: single results are aggregated for three seconds."""


class LiveConditions:
    """The conditions of one run. Its slices are added as they arrive; `results` are those of the last evaluation.

    The first `warm_up` seconds are left out.
    """

    def __init__(self, conditions: Sequence[PlannedCondition] = (), warm_up: float = 0.0) -> None:
        self.conditions = conditions
        self._warm_up = float(math.ceil(warm_up))
        self.results: list[ConditionResult] = []
        self._sums = {_slice_name(each): Outcomes() for each in conditions}

    @classmethod
    def of(cls, config: RunConfig) -> LiveConditions:
        """Return the conditions of a configuration; conditions that an earlier version stored may be wrong."""
        try:
            return cls(planned(config.fail_if, KEY, may_repeat=True), config.warm_up)
        except SettingsError:
            return cls()

    @property
    def timers(self) -> list[str]:
        """Return the names of the timers whose slices are needed."""
        return list(self._sums)

    def add(self, parts: Iterable[Slice]) -> None:
        """Add slices; those of timers without a condition are left out."""
        for part in parts:
            sums = self._sums.get(part.timer)
            if sums is None or part.second < self._warm_up:
                continue
            try:
                sums.merge(part)
            except InvalidInput:
                continue  # the summary of the run counts it as damaged

    def evaluate(self, elapsed: float, rampup: float) -> str | None:
        """Evaluate all conditions `elapsed` seconds after the start; return the reason to abort the run, or None.

        `rampup` is the longest one of all turrets, in seconds.
        """
        reason = None
        self.results = []
        for each in self.conditions:
            found = self._result(each, elapsed, rampup)
            if reason is None and self._aborts(each, found, elapsed):
                reason = abort_reason(each, found.text)
                found = msgspec.structs.replace(found, aborted=True)
            self.results.append(found)
        return reason

    def _result(self, condition: PlannedCondition, elapsed: float, rampup: float) -> ConditionResult:
        """Return how the values so far compare with a condition."""
        threshold = condition.threshold
        sums = self._sums[_slice_name(condition)]
        why = self._reason_to_wait(threshold, elapsed, rampup, sums.count)
        if why is not None:
            return ConditionResult(
                condition=threshold.text, state="open", text=why, samples=sums.count, abort=condition.abort
            )
        # Results of the last seconds are missing: with the shorter time a rate is too high, with the longer one too
        # low. The time is the one with which a condition is not met too early.
        seconds = elapsed - self._warm_up - (DELAY_SECONDS if threshold.operator[0] == "<" else 0.0)
        stats = msgspec.to_builtins(timer_stats(sums, seconds))
        found = threshold.result(_summary(threshold.timer, stats))
        return msgspec.structs.replace(found, abort=condition.abort)

    def _reason_to_wait(self, threshold: RunCondition, elapsed: float, rampup: float, count: int) -> str | None:
        """Return why a condition with `count` values is still open, or None if it can be judged."""
        why = threshold.only_at_end()
        if elapsed <= self._warm_up:
            why = why or "the warm-up is left out"
        if threshold.statistic == "rate" and elapsed < max(rampup, self._warm_up) + RATE_SECONDS:
            why = "the rate is not decided before the rampup is over"
        if why is None and not count and (threshold.statistic != "rate" or threshold.operator[0] == ">"):
            why = "no value yet"
        return why

    def _aborts(self, condition: PlannedCondition, found: ConditionResult, elapsed: float) -> bool:
        """Return whether a condition aborts the run now."""
        if not condition.abort or found.state != "failed" or elapsed < condition.abort_after:
            return False
        if condition.threshold.statistic == "rate":
            return True
        counted = self._sums[_slice_name(condition)].count if found.value is None else found.samples
        return counted >= condition.threshold.least_samples()


def longest_rampup(config: RunConfig, rampups: Iterable[float | None]) -> float:
    """Return the longest rampup of the turrets of a project and of those that fire, in seconds."""
    own = (turret.rampup for turret in config.turrets if isinstance(turret, TurretConfig))
    return max((*own, *(rampup or 0.0 for rampup in rampups)), default=0.0)


def _summary(timer: str, stats: Mapping[str, object]) -> dict[str, object]:
    """Return the part of a summary that a condition on a timer needs."""
    return {"timers": {ALL: stats, timer: stats}}


def _slice_name(condition: PlannedCondition) -> str:
    """Return the name that the timer of a condition has in slices."""
    timer = condition.threshold.timer
    return TRANSACTION if timer == ALL else timer
