"""The base class and the timer that test scripts import; scripts of OCT get them under the name `oct_turrets`.

A script is a module with a class `Transaction`. Each cannon makes one object of it and then, until the run ends, calls
`setup()`, `run()` and `tear_down()` in this order; only `run()` is timed. With `async def run()` the cannons are
coroutines, thousands in one process; `setup` and `tear_down` may then be coroutines, too.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType
from typing import Any

from smartmob.turrets.turret.failure import Failure, failure_of
from smartmob.turrets.turret.http_client import Answer, Http, HttpError
from smartmob.turrets.turret.timed_http import TimedHttp

__all__ = ["Answer", "BaseTransaction", "CustomTimer", "Http", "HttpError", "TimedHttp"]


class BaseTransaction:
    """The base of the transactions of a script.

    `config` is the configuration of the turret, `context` the object that the headquarters sent to all turrets of the
    run. The content of `custom_timers` after `run` (seconds by name) is sent with the result; the dictionary is empty
    again before the next `setup`. `failed_timers` has the failures of those that `CustomTimer` measured.
    """

    def __init__(self, config: Mapping[str, Any] | None, context: Mapping[str, Any] | None = None) -> None:
        self.config = config
        self.context = context or {}
        self.custom_timers: dict[str, float] = {}
        self.failed_timers: dict[str, Failure] = {}

    def setup(self) -> Any:
        """Prepare one `run`; not timed. May be `async def` if `run` is."""

    def run(self) -> Any:
        """Perform the measured work. An exception becomes the error of the result, and firing goes on."""

    def tear_down(self) -> Any:
        """Clean up after one `run`; not timed. May be `async def` if `run` is."""


class CustomTimer:
    """A timer for a part of `run`: `with CustomTimer(self, "login"): …`.

    A part that ends with an exception counts as a failure of the timer, also when the script catches the exception.
    """

    def __init__(self, transaction: Any, name: str) -> None:
        if not hasattr(transaction, "custom_timers"):
            transaction.custom_timers = {}
        self.transaction = transaction
        self.name = name
        self.start: float | None = None

    def __enter__(self) -> CustomTimer:
        self.start = time.perf_counter()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.start is not None:
            self.transaction.custom_timers[self.name] = time.perf_counter() - self.start
            if error is not None:
                if not hasattr(self.transaction, "failed_timers"):
                    self.transaction.failed_timers = {}
                self.transaction.failed_timers[self.name] = failure_of(error)
