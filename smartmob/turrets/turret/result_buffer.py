"""A buffer of the results of one process: counts, and slices or raw results until they are taken. No I/O."""

from __future__ import annotations

import math
from collections.abc import Mapping

from smartmob.turrets.protocol import LONGEST_ERROR, Result, Slice, TurretCounts, encode
from smartmob.turrets.slices import TRANSACTION, Distribution

LATE_SECONDS = 0.010
"""A start counts as late when it is more than this many seconds after the intended start."""

MOST_TIMERS = 1000  # different timers of a run
FURTHER_TIMERS = "(further timers)"
MOST_ERRORS = 100  # different error texts of a second
FURTHER_ERRORS = "(further errors)"
"""The names under which timers and error texts beyond these limits are counted."""

LONGEST_NAME_CHARACTERS = 200
UNNAMED = "(unnamed)"
"""The name of a custom timer whose name is empty."""


class ResultBuffer:
    """Collects results. With `raw` each becomes a documented message, otherwise they are merged to slices."""

    def __init__(self, turret: str, epoch: float, *, raw: bool) -> None:
        """Create an empty buffer; `epoch` is the start of the run in seconds since 1970."""
        self.counts = TurretCounts()
        self.raw = raw
        self._turret = turret
        self._epoch = epoch
        self._frames: list[bytes] = []
        self._seconds: dict[int, dict[str, Distribution]] = {}
        self._timers: set[str] = set()

    def add(self, elapsed: float, duration: float, error: str, timers: Mapping[str, object], late: float) -> None:
        """Record a transaction that ended `elapsed` seconds after the start of the run and took `duration` seconds.

        It began `late` seconds after its intended start; `duration` is measured from the intended start.
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
            error = error or wrong
        if error:
            error = error[:LONGEST_ERROR].encode(errors="replace").decode()
            counts.errors += 1
        if self.raw:
            self._frames.append(self._frame(elapsed, duration, error, values))
            return
        second = max(int(elapsed), 0)
        slot = self._seconds.get(second)
        if slot is None:
            slot = self._seconds[second] = {}
        whole = slot.get(TRANSACTION)
        if whole is None:
            whole = slot[TRANSACTION] = Distribution()
        whole.record(duration)
        if is_late:
            whole.late += 1
        if error:
            known = error in whole.errors or len(whole.errors) < MOST_ERRORS
            whole.fail(error if known else FURTHER_ERRORS)
        for name, value in values.items():
            self._record(slot, name, value)

    def take_slices(self, before: float) -> list[Slice]:
        """Remove and return the slices of all seconds that ended by `before` (seconds after the start of the run)."""
        ended = sorted(second for second in self._seconds if second + 1 <= before)
        return [part.slice(second, name) for second in ended for name, part in self._seconds.pop(second).items()]

    def take_frames(self) -> list[bytes]:
        """Remove and return the raw results so far, as messages without sequence numbers."""
        frames, self._frames = self._frames, []
        return frames

    def _record(self, slot: dict[str, Distribution], name: str, value: float) -> None:
        if name not in self._timers:
            if len(self._timers) >= MOST_TIMERS:
                name = FURTHER_TIMERS
            self._timers.add(name)
        timer = slot.get(name)
        if timer is None:
            timer = slot[name] = Distribution()
        timer.record(value)

    def _frame(self, elapsed: float, duration: float, error: str, timers: dict[str, float]) -> bytes:
        return encode(
            Result(
                elapsed=elapsed,
                # Whole seconds, as turrets of OCT send them.
                epoch=float(int(self._epoch + elapsed)),
                scriptrun_time=duration,
                error=error,
                custom_timers=timers,
                turret_name=self._turret,
            )
        )


def _checked(timers: Mapping[str, object]) -> tuple[dict[str, float], str]:
    """Return the timers that are finite numbers, and an error text for the last of the others."""
    good: dict[str, float] = {}
    wrong = ""
    for name, value in timers.items():
        if isinstance(value, float | int) and math.isfinite(value):
            good[str(name)[:LONGEST_NAME_CHARACTERS] or UNNAMED] = float(value)
        else:
            wrong = f"the custom timer {name!r} is not a number: {value!r}"
    return good, wrong
