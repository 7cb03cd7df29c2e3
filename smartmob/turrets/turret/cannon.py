"""Cannons: each is one user who does the script's transaction again and again, as a thread or as a coroutine."""

from __future__ import annotations

import asyncio
import inspect
import threading
import time
from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from smartmob.turrets.turret.script import Script, describe

_RETRY = 1.0
"""Seconds after which a cannon whose transaction could not be made tries again."""

_NOTHING: Mapping[str, object] = {}

_CAUGHT = (Exception, SystemExit, asyncio.CancelledError)
"""What a script may raise without ending its cannon."""


class FiringContext(Protocol):
    """Where cannons fire: what they share."""

    script: Script
    config: Mapping[str, Any]
    context: Mapping[str, Any]
    ceased: bool

    def hit(self, ended: float, duration: float, error: str, timers: Mapping[str, object], late: float) -> None:
        """Take a finished transaction; `ended` is a time of the monotonic clock."""


class ArrivalSource(Protocol):
    """Hands out the intended starts of the open model to coroutines."""

    async def next(self) -> float | None:
        """Return the intended start of the next transaction when it has come, or None when firing has ended."""


class ThreadArrivalSource(Protocol):
    """Hands out the intended starts of the open model to threads."""

    def next(self) -> float | None:
        """Return the intended start of the next transaction when it has come, or None when firing has ended."""


class Cannon:
    """What both kinds have: whether a transaction is under way, and since when."""

    def __init__(self, place: FiringContext) -> None:
        self.place = place
        self.late = 0.0
        # At most one. Whoever pops it counts the transaction: the cannon itself, or the one who gives it up.
        self._under_way: list[float] = []

    def _make(self) -> Any:
        """Return the transaction, or None if it cannot be made, which counts as an error."""
        place = self.place
        try:
            return place.script.transaction(place.config, place.context)
        except _CAUGHT as error:
            place.hit(time.monotonic(), 0.0, f"__init__: {describe(error)}", _NOTHING, 0.0)
            return None

    def unfinished(self, now: float) -> None:
        """Count the transaction under way as an error: it is given up."""
        if (begun := self._claim()) is not None:
            self.place.hit(now, now - begun, "not finished when the run ended", _NOTHING, self.late)

    def _claim(self) -> float | None:
        """Return when the transaction under way began, once."""
        try:
            return self._under_way.pop()
        except IndexError:
            return None


class CoroutineCannon(Cannon):
    """Fires as a coroutine."""

    async def fire(self, turns: ArrivalSource | None, gate: asyncio.Event) -> None:
        """Do transactions until the range has ceased."""
        place = self.place
        while (transaction := self._make()) is None:
            await asyncio.sleep(_RETRY)
            if place.ceased:
                return
        while not place.ceased:
            if not gate.is_set():
                await gate.wait()
            transaction.custom_timers = {}
            if error := await _attempt(transaction.setup, "setup"):
                place.hit(time.monotonic(), 0.0, error, _NOTHING, 0.0)
                # A script that fails at once must not keep the others from running.
                await asyncio.sleep(0)
                continue
            if turns is None:
                begun, self.late = time.monotonic(), 0.0
            else:
                intended = await turns.next()
                if intended is None:
                    await _attempt(transaction.tear_down, "tear_down")
                    return
                begun, self.late = intended, time.monotonic() - intended
            self._under_way.append(begun)
            try:
                await transaction.run()
            except _CAUGHT as failure:
                _stop_if_cancelled(failure)
                error = describe(failure)
            ended = time.monotonic()
            if self._claim() is None:
                return
            error = await _attempt(transaction.tear_down, "tear_down", error)
            place.hit(ended, ended - begun, error, transaction.custom_timers, self.late)
            await asyncio.sleep(0)


async def _attempt(step: Any, name: str, before: str = "") -> str:
    """Do an untimed step, which may be a coroutine; return the first error."""
    try:
        awaited = step()
        if awaited is not None and inspect.isawaitable(awaited):
            await awaited
    except _CAUGHT as error:
        _stop_if_cancelled(error)
        return before or f"{name}: {describe(error)}"
    return before


def _stop_if_cancelled(error: BaseException) -> None:
    """Raise the cancellation of this cannon; one that the script itself has raised is an error like others."""
    task = asyncio.current_task()
    if isinstance(error, asyncio.CancelledError) and task is not None and task.cancelling():
        raise error


class ThreadEvents(NamedTuple):
    """What threads wait for: all of them are there; transactions may begin (no pause); firing has ended."""

    manned: threading.Event
    gate: threading.Event
    cease: threading.Event


class ThreadCannon(Cannon):
    """Fires as a thread of its own, which does not keep the program from ending."""

    def __init__(self, place: FiringContext) -> None:
        super().__init__(place)
        self._thread: threading.Thread | None = None
        self._abandoned = False

    def start(self, at: float, turns: ThreadArrivalSource | None, signs: ThreadEvents) -> None:
        """Start the thread; its first transaction is due `at`. Raises RuntimeError when there are too many threads."""
        self._thread = threading.Thread(target=self._fire, args=(at, turns, signs), daemon=True, name="cannon")
        self._thread.start()

    @property
    def alive(self) -> bool:
        """Tell whether the thread still runs, and somebody waits for it."""
        return self._thread is not None and self._thread.is_alive() and not self._abandoned

    def abandon(self) -> None:
        """Wait for it no longer; a thread cannot be ended from outside."""
        self._abandoned = True

    def _fire(self, at: float, turns: ThreadArrivalSource | None, signs: ThreadEvents) -> None:
        place = self.place
        signs.manned.wait()
        if signs.cease.wait(max(at - time.monotonic(), 0.0)):
            return
        while (transaction := self._make()) is None:
            if signs.cease.wait(_RETRY):
                return
        while not place.ceased:
            signs.gate.wait()
            transaction.custom_timers = {}
            if error := _attempt_now(transaction.setup, "setup"):
                place.hit(time.monotonic(), 0.0, error, _NOTHING, 0.0)
                continue
            if turns is None:
                begun, self.late = time.monotonic(), 0.0
            else:
                intended = turns.next()
                if intended is None:
                    _attempt_now(transaction.tear_down, "tear_down")
                    return
                begun, self.late = intended, time.monotonic() - intended
            self._under_way.append(begun)
            try:
                transaction.run()
            except _CAUGHT as failure:
                error = describe(failure)
            ended = time.monotonic()
            if self._claim() is None:
                return
            error = _attempt_now(transaction.tear_down, "tear_down", error)
            place.hit(ended, ended - begun, error, transaction.custom_timers, self.late)


def _attempt_now(step: Any, name: str, before: str = "") -> str:
    """Do an untimed step; return the first error."""
    try:
        step()
    except _CAUGHT as error:
        return before or f"{name}: {describe(error)}"
    return before
