"""A dry run of a script: one user does some transactions without a headquarters; errors come with a traceback."""

from __future__ import annotations

import inspect
import time
import traceback
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import msgspec

from smartmob.turrets.turret import event_loop
from smartmob.turrets.turret.failure import describe
from smartmob.turrets.turret.script import Script


class DryRunResult(msgspec.Struct, frozen=True):
    """The result of one transaction: seconds, the error text that a turret would send, its traceback, custom timers."""

    took: float
    error: str = ""
    trace: str = ""
    timers: dict[str, Any] = msgspec.field(default_factory=dict)


def dry_run(
    script: Script, config: Mapping[str, Any], context: Mapping[str, Any], times: int
) -> Iterator[DryRunResult]:
    """Do `times` transactions one after the other, in the steps of a cannon, and yield the result of each."""
    with ExitStack() as stack:
        # Without async def there is no running event loop: the script may start one of its own.
        run = stack.enter_context(event_loop.runner()).run if script.asynchronous else _at_once
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
            message = describe(failed) if name == "run" else f"{name}: {describe(failed)}"
            first = message, _trace(failed)
        if failed is not None and name == "setup":
            break
    return DryRunResult(took, *first, timers=dict(transaction.custom_timers))


async def _attempt(step: Callable[[], Any]) -> tuple[Any, BaseException | None]:
    """Call a step, await it if it is a coroutine, and return its result and its error (one of them None)."""
    try:
        found = step()
        return (await found if inspect.isawaitable(found) else found), None
    except (Exception, SystemExit) as error:
        return None, error


def _at_once(work: Coroutine[Any, Any, Any]) -> Any:
    """Return the result of a coroutine that never suspends."""
    try:
        work.send(None)
    except StopIteration as done:
        return done.value
    raise RuntimeError("a transaction without async def returned an awaitable")


def _trace(error: BaseException) -> str:
    """Return a traceback as text, without the frames of this program that called the script."""
    frames = traceback.extract_tb(error.__traceback__)
    ours = (__file__, inspect.getfile(Script))
    first = next((index for index, frame in enumerate(frames) if frame.filename not in ours), 0)
    return "".join((*traceback.format_list(frames[first:]), *traceback.format_exception_only(error))).rstrip()
