"""A script tried out: one user does some transactions here and now, and an error tells its place. No headquarters."""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any

from smartmob.turrets.turret import event_loop
from smartmob.turrets.turret.script import Script, describe


@dataclass(frozen=True, slots=True)
class DryRunResult:
    """A transaction that took so many seconds. `error` is what its result would tell, `trace` where it came from."""

    took: float
    error: str = ""
    trace: str = ""
    timers: dict[str, Any] = field(default_factory=dict)


def dry_run(
    script: Script, config: Mapping[str, Any], context: Mapping[str, Any], times: int
) -> Iterator[DryRunResult]:
    """Do transactions one after the other, as a cannon does them, and yield what came of each."""
    with ExitStack() as ends:
        # Not within a loop unless it is a coroutine: a script may begin one of its own.
        run = ends.enter_context(event_loop.runner()).run if script.asynchronous else _at_once
        transaction, failed = run(_attempt(lambda: script.transaction(config, context)))
        if failed is not None:
            yield DryRunResult(0.0, describe(failed), _trace(failed))
            return
        for _ in range(times):
            yield run(_once(transaction))


async def _once(transaction: Any) -> DryRunResult:
    transaction.custom_timers = {}
    took, first = 0.0, ("", "")
    for name in ("setup", "run", "tear_down"):
        begun = time.monotonic()
        _, failed = await _attempt(getattr(transaction, name))
        if name == "run":
            took = time.monotonic() - begun
        if failed is not None and not first[1]:
            said = describe(failed) if name == "run" else f"{name}: {describe(failed)}"
            first = said, _trace(failed)
        if failed is not None and name == "setup":
            break
    return DryRunResult(took, *first, timers=dict(transaction.custom_timers))


async def _attempt(step: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Return what a step gave, or the error with which it ended."""
    try:
        found = step()
        return (await found if inspect.isawaitable(found) else found), None
    except (Exception, SystemExit) as error:
        return None, error


def _at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """Return what comes of work that waits for nothing."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("a transaction without async def gave something to wait for")


def _trace(error: BaseException) -> str:
    """Return the lines of a traceback from the script on: what called it is of no use to whoever wrote it."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = (__file__, inspect.getfile(Script))
    first = next((place for place, frame in enumerate(frames) if frame.filename not in ours), 0)
    return "".join((*traceback.format_list(frames[first:]), *traceback.format_exception_only(error))).rstrip()
