"""The time series of one test, for a chart: its executions, and the changes of its environment. No I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from typing import Any

import msgspec

from smartmob.metrics import model
from smartmob.metrics.verdict.change_detection import ItemName
from smartmob.metrics.verdict.verdicts import context_difference


class SeriesPoint(msgspec.Struct, frozen=True):
    """One execution of a test; a measure is null if it is unknown, `scm_ref` while the session is not known."""

    session_h: str
    context_h: str
    started_at: datetime
    total_time: float | None
    user_time: float | None
    kernel_time: float | None
    cpu_usage: float | None
    mem_usage: float | None
    scm_ref: str | None


class ContextChange(msgspec.Struct, frozen=True):
    """From this execution on the test was measured in another environment; `what` describes the difference."""

    started_at: datetime
    context_h: str
    what: str


class Series(msgspec.Struct, frozen=True):
    """The latest executions of a test, oldest first, and the changes of its environment."""

    item_id: str
    path: str
    item: str
    variant: str
    kind: str
    points: list[SeriesPoint]
    changes: list[ContextChange]


def time_series(
    item_id: str,
    name: ItemName,
    points: Iterable[Mapping[str, Any]],
    contexts: Mapping[str, model.Context],
    is_same_place: Callable[[SeriesPoint, SeriesPoint], bool] = lambda _, __: False,
) -> Series:
    """Return the time series of a test; `points` are its executions, oldest first.

    `is_same_place` returns whether two executions in different contexts can be compared nevertheless.
    """
    executions = [SeriesPoint(**point) for point in points]
    changes = []
    for previous, point in pairwise(executions):
        if previous.context_h == point.context_h or is_same_place(previous, point):
            continue
        theirs, ours = contexts.get(previous.context_h), contexts.get(point.context_h)
        known = theirs is not None and ours is not None
        what = context_difference(ours, theirs) if ours is not None and theirs is not None else ""
        if what or not known:
            changes.append(ContextChange(point.started_at, point.context_h, what or "an unknown context"))
    return Series(item_id, *name, executions, changes)
