"""The clocks of turrets that send the time of day: results by the time since the start of their turret. No I/O.

A result of OCT has `epoch`, the time of day in whole seconds, and `elapsed`, the seconds since its turret began to
fire. Their difference is the time at which the turret began by its own clock, which is the same for all of its results.
A turret cannot begin before the run, and a result cannot be from the future; otherwise the clock is wrong. In that case
the fastest delivery shows when the turret began by the clock of the headquarters.
"""

from __future__ import annotations

CLOCK_SECONDS = 1.5
"""The difference in seconds from which a clock is wrong: times are whole seconds, and messages need time."""

_ROUNDING_SECONDS = 1e-5
"""Times are stored in whole microseconds."""

_MOST_CLOCKS = 1_000
"""Turrets with wrong clocks that are distinguished; results of further ones get their time of arrival."""


def true_epoch(epoch: float, moment: float, *, numbered: bool) -> float:
    """Return the `epoch` of a result if the clock of its turret was right, or one from its `moment`.

    `moment` is the time of the result by the clock of the headquarters, in seconds since 1970. Turrets of smartmob,
    whose results are `numbered`, know it exactly, and send whole seconds.
    """
    if not numbered:
        return epoch if abs(epoch - moment) <= CLOCK_SECONDS else moment
    return epoch if -1.0 <= epoch - moment <= _ROUNDING_SECONDS else float(int(moment + _ROUNDING_SECONDS))


class TurretClocks:
    """The wrong clocks of the turrets of a run."""

    def __init__(self) -> None:
        self.offset = 0.0
        self._begun: dict[int, float] = {}

    def is_wrong(self, epoch: float, elapsed: float, started: float, now: float) -> bool:
        """Return whether the clock behind the `epoch` of a result is wrong; all times are in seconds since 1970."""
        return epoch - elapsed < started - CLOCK_SECONDS or epoch > now + CLOCK_SECONDS

    def moment(self, epoch: float, elapsed: float, now: float) -> float:
        """Return the time, by the clock of the headquarters, of a result with a wrong clock that arrives `now`."""
        clock = int(epoch - elapsed)
        begun = now - elapsed
        if clock in self._begun:
            begun = min(begun, self._begun[clock])
        elif len(self._begun) >= _MOST_CLOCKS:
            return now
        self._begun[clock] = begun
        self.observe(epoch - elapsed - begun)
        return min(begun + elapsed, now)

    def observe(self, offset: float) -> None:
        """Keep the difference of a clock from that of the headquarters, in seconds, if it is the largest one."""
        if abs(offset) > abs(self.offset):
            self.offset = offset
