"""The state machine of one health check: it derives the state from the results of executions. No I/O, no clock.

Times are seconds of any steady clock and are passed in. docs/reference/health-checks.md has the table of states.
"""

from __future__ import annotations

from typing import TypeAlias, assert_never

import msgspec

from smartmob.processes import model

# Events.


class Began(msgspec.Struct, frozen=True):
    """The program has been started."""


class Finished(msgspec.Struct, frozen=True):
    """An execution of the check has ended.

    `passed` is None when it could not be executed, for a reason that is not the program's. `detail` is the reason of a
    failure, for people.
    """

    passed: bool | None
    detail: str = ""


Event: TypeAlias = Began | Finished

# Actions.


class Execute(msgspec.Struct, frozen=True):
    """Execute the check at the time `at`. Answered by Finished."""

    at: float


class Passed(msgspec.Struct, frozen=True):
    """The check has become `passing`."""


class Failed(msgspec.Struct, frozen=True):
    """The check has become `failing`; `detail` is the reason of the last failure."""

    detail: str


Action: TypeAlias = Execute | Passed | Failed


class CheckStateMachine:
    """The state machine of one check of one start of a program.

    The next execution begins `interval` seconds after the end of the one before, so that executions never overlap.
    """

    def __init__(self, check: model.HealthCheck) -> None:
        self.state = model.STARTING
        self.detail = ""
        self.has_passed = False
        self.failures = 0
        self._check = check
        self._successes = 0

    def handle(self, event: Event, now: float) -> list[Action]:
        """Change the state by an event that happened at `now`; return the actions to carry out, in this order."""
        match event:
            case Began():
                return [Execute(now + self._check.initial_delay)]
            case Finished():
                return [*self._finished(event), Execute(now + self._check.interval)]
            case _:
                assert_never(event)

    def _finished(self, event: Finished) -> list[Action]:
        if event.passed is None:
            return []
        self.detail = "" if event.passed else event.detail
        if event.passed:
            self._successes, self.failures = self._successes + 1, 0
            if self.state == model.PASSING or self._successes < self._check.success_threshold:
                return []
            self.state, self.has_passed = model.PASSING, True
            return [Passed()]
        self._successes, self.failures = 0, self.failures + 1
        if self.state == model.FAILING or self.failures < self._check.failure_threshold:
            return []
        self.state = model.FAILING
        return [Failed(event.detail)]
