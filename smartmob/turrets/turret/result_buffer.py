"""A buffer of the results of one process: counts, and slices or raw results until they are taken. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import lru_cache

from smartmob.turrets.names import FURTHER_TIMERS, by_timer
from smartmob.turrets.outcomes import Outcomes
from smartmob.turrets.protocol import (
    LONGEST_CODE,
    LONGEST_ERROR,
    LONGEST_NAME,
    ErrorKind,
    Result,
    ResultDetails,
    Slice,
    TimerError,
    TurretCounts,
    encode,
)
from smartmob.turrets.slices import TRANSACTION, Distribution
from smartmob.turrets.turret.failure import Failure

LATE_SECONDS = 0.010
"""A start counts as late when it is more than this many seconds after the intended start."""

MOST_TIMERS = 1000  # different timers of a run
MOST_ERRORS = 100  # different error texts of a timer in a second
FURTHER_ERRORS = "(further errors)"
"""The text under which errors beyond this limit are counted; timers beyond theirs count as `FURTHER_TIMERS`."""

_NO_FAILURES: Mapping[str, Failure] = {}


class ResultBuffer:
    """Collects results. With `raw` each becomes a documented message, otherwise they are merged to slices.

    `details`: such a message has the kinds of its errors, too, which only a headquarters of smartmob understands.
    """

    def __init__(self, turret: str, epoch: float, *, raw: bool, details: bool = False) -> None:
        """Create an empty buffer; `epoch` is the start of the run in seconds since 1970."""
        self.counts = TurretCounts()
        self.raw = raw
        self._turret = turret
        self._epoch = epoch
        self._frames: list[bytes] = []
        self._details = details
        self._seconds: dict[int, dict[str, Outcomes]] = {}
        self._timers: set[str] = set()

    def add(
        self,
        elapsed: float,
        duration: float,
        failure: Failure | None,
        timers: Mapping[str, object],
        late: float,
        failed_timers: Mapping[str, Failure] = _NO_FAILURES,
    ) -> None:
        """Record a transaction that ended `elapsed` seconds after the start of the run and took `duration` seconds.

        It began `late` seconds after its intended start; `duration` is measured from the intended start.
        `failed_timers` has the failures of timers by their names.
        """
        counts = self.counts
        counts.transactions += 1
        is_late = late > LATE_SECONDS
        if is_late:
            counts.late_starts += 1
        if late > counts.lateness:
            counts.lateness = late
        values: dict[str, float] = {}
        if timers:
            values, wrong = _checked(timers)
            failure = failure or wrong
            if failed_timers:
                failed_timers = by_timer({_text(name): each for name, each in failed_timers.items()})
        if failure is not None:
            counts.errors += 1
        if self.raw:
            self._frames.append(self._frame(elapsed, duration, failure, values, failed_timers))
            return
        second = max(int(elapsed), 0)
        slot = self._seconds.get(second)
        if slot is None:
            slot = self._seconds[second] = {}
        whole = slot.get(TRANSACTION)
        if whole is None:
            whole = slot[TRANSACTION] = Outcomes()
        if failure is None:
            whole.ok.record(duration)
        else:
            _fail(whole.failed, duration, failure)
        if is_late:
            (whole.ok if failure is None else whole.failed).late += 1
        for name, value in values.items():
            self._record(slot, name, value, failed_timers.get(name))

    def take_slices(self, before: float) -> list[Slice]:
        """Remove and return the slices of all seconds that ended by `before` (seconds after the start of the run)."""
        ended = sorted(second for second in self._seconds if second + 1 <= before)
        return [
            part
            for second in ended
            for name, outcomes in self._seconds.pop(second).items()
            for part in outcomes.slices(second, name)
        ]

    def take_frames(self) -> list[bytes]:
        """Remove and return the raw results so far, as messages without sequence numbers."""
        frames, self._frames = self._frames, []
        return frames

    def _record(self, slot: dict[str, Outcomes], name: str, value: float, failure: Failure | None) -> None:
        if name not in self._timers:
            if len(self._timers) >= MOST_TIMERS:
                name = FURTHER_TIMERS
            self._timers.add(name)
        timer = slot.get(name)
        if timer is None:
            timer = slot[name] = Outcomes()
        if failure is None:
            timer.ok.record(value)
        else:
            _fail(timer.failed, value, failure)

    def _frame(
        self,
        elapsed: float,
        duration: float,
        failure: Failure | None,
        timers: dict[str, float],
        failed_timers: Mapping[str, Failure],
    ) -> bytes:
        result = Result(
            elapsed=elapsed,
            # Whole seconds, as turrets of OCT send them.
            epoch=float(int(self._epoch + elapsed)),
            scriptrun_time=duration,
            error="" if failure is None else _shown(failure.text),
            custom_timers=timers,
            turret_name=self._turret,
        )
        if self._details:
            result.details = _details(failure, {name: failed_timers[name] for name in timers if name in failed_timers})
        return encode(result)


def _fail(failed: Distribution, duration: float, failure: Failure) -> None:
    """Count a failure, and its duration if it has one."""
    if failure.untimed:
        failed.untimed += 1
    else:
        failed.record(duration)
    text, kind = _shown(failure.text), _kind(failure.kind, failure.code)
    if len(failed.errors) < MOST_ERRORS or (text in failed.errors and failed.kinds.get(text) == kind):
        failed.fail(text, 1, kind)
    else:
        failed.fail(FURTHER_ERRORS)


@lru_cache(1024)
def _kind(kind: str, code: str) -> ErrorKind:
    return ErrorKind(kind[:LONGEST_NAME], code[:LONGEST_CODE])


def _details(failure: Failure | None, timers: Mapping[str, Failure]) -> ResultDetails:
    found = failure or Failure("")
    kind = _kind(found.kind, found.code)
    return ResultDetails(
        kind.kind,
        kind.code,
        untimed=found.untimed,
        timers={
            name: TimerError(each.kind[:LONGEST_NAME], each.code[:LONGEST_CODE], error=_shown(each.text))
            for name, each in timers.items()
        },
    )


def _shown(text: str) -> str:
    """Return an error text within its limit, without lone surrogates."""
    return text[:LONGEST_ERROR].encode(errors="replace").decode()


def _text(name: object) -> str:
    """Return the name that a script gave to a timer; it may be any object."""
    return name if isinstance(name, str) else str(name)


def _checked(timers: Mapping[str, object]) -> tuple[dict[str, float], Failure | None]:
    """Return the timers that are finite numbers by their counted names, and a failure for the last of the others."""
    good: dict[str, float] = {}
    wrong: Failure | None = None
    for name, value in timers.items():
        if isinstance(value, float | int) and math.isfinite(value):
            good[_text(name)] = float(value)
        else:
            wrong = Failure(f"the custom timer {name!r} is not a number: {value!r}", "InvalidTimer")
    return by_timer(good), wrong
