"""What is said of a comparison: a verdict for each test, for the machine and for the whole, with its reason in words.

It turns the numbers of `comparison` into what the routes answer. No I/O.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from smartmob.metrics import model
from smartmob.metrics.verdict.change_detection import (
    LEAST_HISTORY,
    LEAST_TESTS,
    SCALES,
    Change,
    DetectedChanges,
    ItemName,
    Limits,
    Shift,
)
from smartmob.metrics.verdict.host_load import HostLoadFound

Verdict = Literal["regression", "suspect", "unfit", "improvement", "gone", "new", "noise"]
Confidence = Literal["normal", "low"]
Resource = Literal["total_time", "user_time", "kernel_time", "cpu_usage", "mem_usage"]
Effect = Annotated[float, msgspec.Meta(ge=0, le=100)]
LeastChange = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]

VERDICTS: tuple[Verdict, ...] = ("regression", "suspect", "unfit", "improvement", "gone", "new", "noise")
"""From the worst to what needs no look."""

DEFAULT_EFFECT = 0.05


class ComparisonRequest(msgspec.Struct, frozen=True, kw_only=True):
    """What to compare: a base and a head, each a run, a session, a commit or `latest~N`, and what matters.

    `min_effect` is a share, `min_change` in the unit of the resource; without it 1 ms, 0.05 cores or 1 MB. `limit`
    bounds the tests that are told, the worst first; the counts tell of all.
    """

    base: Name = "latest~1"
    head: Name = "latest"
    resource: Resource = "total_time"
    min_effect: Effect = DEFAULT_EFFECT
    min_change: LeastChange | None = None
    limit: model.Limit = 10_000

    def limits(self) -> Limits:
        """Return what matters."""
        change = SCALES[self.resource].least_change if self.min_change is None else self.min_change
        return Limits(self.min_effect, change)


class Side(msgspec.Struct, frozen=True):
    """One of the two that are compared. `id` is a run's, a session's hash, or the commit; `name` is what was asked."""

    name: str
    kind: Literal["run", "session", "commit"]
    id: str
    scm_ref: str
    sessions: list[str]
    started_at: datetime


class ShiftFound(msgspec.Struct, frozen=True):
    """What moved all tests together: a finding about the machine, which is removed from the tests.

    `usual` is how much that varies from one session to the next, as a factor. Both are null where it cannot be told.
    """

    verdict: Literal["steady", "slower", "faster", "unknown"]
    ratio: float | None
    usual: float | None
    tests: int
    explanation: str


class ItemVerdict(msgspec.Struct, frozen=True):
    """What is said of a test. Values are in the unit of the resource, null on the side that lacks the test.

    `level` is the usual value, `ratio` the head over the base as measured, `corrected_ratio` the head without the
    shift over the level, `mad` the usual distance from the level as a share, `sessions` the length of the history.
    """

    verdict: Verdict
    item_id: str
    path: str
    item: str
    variant: str
    kind: str
    context_h: str
    base: float | None
    head: float | None
    level: float | None
    ratio: float | None
    corrected_ratio: float | None
    mad: float | None
    sessions: int
    confidence: Confidence
    reason: str


class ComparedContext(msgspec.Struct, frozen=True):
    """A machine and a Python on which both sides were measured. `sessions` is the length of the history."""

    context_h: str
    machine_node: str
    python_info: str
    sessions: int
    shift: ShiftFound
    host: HostLoadFound | None


class Comparison(msgspec.Struct, frozen=True):
    """What became slower from the base to the head; `base` is null where that is the history of the head.

    `shift` is that of the context with the most tests. `items` stand the worst first; `counts` has all verdicts.
    """

    base: Side | None
    head: Side
    resource: str
    unit: str
    verdict: Verdict
    explanation: str
    counts: dict[str, int]
    shift: ShiftFound
    contexts: list[ComparedContext]
    items: list[ItemVerdict]


class MeasuredContext(msgspec.Struct, frozen=True):
    """Where something was measured, and the ids of its tests."""

    context_h: str
    machine_node: str
    python_info: str
    ids: dict[ItemName, str]


UNKNOWN_SHIFT = ShiftFound(
    "unknown", None, None, 0, "Nothing can be told of the machine: no test was measured on both sides."
)


def shift_found(shift: Shift, resource: str) -> ShiftFound:
    """Return what is said of the machine."""
    if shift.ratio is None:
        if not SCALES[resource].shifts:
            says = "Memory does not follow the load of a machine, so nothing was removed from the tests."
        else:
            says = (
                f"Only {_tests(shift.tests)} can be compared: a slower machine cannot be told from a slower test, so "
                "nothing was removed from the tests."
            )
        return ShiftFound("unknown", None, None, shift.tests, says)
    varies = f"; it varies by {shift.usual - 1:.1%} from one session to the next" if shift.usual is not None else ""
    if not shift.notable:
        says = f"All tests together took {shift.ratio:.2f} times as much as usual, which is nothing special{varies}."
        return ShiftFound("steady", shift.ratio, shift.usual, shift.tests, says)
    says = (
        f"All tests together took {shift.ratio:.2f} times as much as usual{varies}. That is removed from each "
        "test: look for the reason in the machine, or in what every test uses."
    )
    return ShiftFound("slower" if shift.ratio > 1 else "faster", shift.ratio, shift.usual, shift.tests, says)


def item_verdicts(found: DetectedChanges, place: MeasuredContext, unfit: str | None, since: str) -> list[ItemVerdict]:
    """Return what is said of each test. `unfit` tells why nothing can be said of those of this place.

    `since` is what the head is compared with: "base", or "history".
    """
    verdicts = [
        _of_change(name, change, place, unfit, known=found.shift.tests >= LEAST_TESTS)
        for name, change in found.changes.items()
    ]
    verdicts += [
        _without(name, "new", place, None, value, f"the {since} does not have it") for name, value in found.new.items()
    ]
    verdicts += [
        _without(name, "gone", place, value, None, "the head does not have it") for name, value in found.gone.items()
    ]
    return verdicts


def unmatched(values: Mapping[ItemName, float], place: MeasuredContext, reason: str) -> list[ItemVerdict]:
    """Return the verdicts on tests of the head for which there is nothing like it to compare with."""
    return [_without(name, "unfit", place, None, value, reason) for name, value in values.items()]


def ordered(verdicts: Iterable[ItemVerdict]) -> list[ItemVerdict]:
    """Return verdicts, the worst first and the largest change first among equals."""
    rank = {verdict: number for number, verdict in enumerate(VERDICTS)}
    return sorted(verdicts, key=lambda row: (rank[row.verdict], -_size(row), row.path, row.item, row.variant))


def counted(verdicts: Iterable[ItemVerdict]) -> dict[str, int]:
    """Return how many there are of each verdict."""
    counts: dict[str, int] = dict.fromkeys(VERDICTS, 0)
    for row in verdicts:
        counts[row.verdict] += 1
    return counts


def overall(counts: Mapping[str, int], shift: ShiftFound, unfit: Sequence[str]) -> tuple[Verdict, str]:
    """Return the verdict on the whole and its reason; `unfit` are the reasons for which tests could not be judged."""
    compared = sum(counts[verdict] for verdict in ("regression", "suspect", "improvement", "noise"))
    host = {"slower": " The machine was slower as a whole.", "faster": " The machine was faster as a whole."}
    also = host.get(shift.verdict, "")
    if not compared:
        return "unfit", f"Nothing can be said: {unfit[0] if unfit else 'no test was measured on both sides'}."
    if counts["regression"]:
        return "regression", f"{_tests(counts['regression'])} of {compared} became slower or larger.{also}"
    if counts["suspect"]:
        return "suspect", (
            f"{_tests(counts['suspect'])} of {compared} may have become slower or larger; the next session will "
            f"tell.{also}"
        )
    if counts["unfit"] > compared:
        return "unfit", f"Most tests cannot be judged: {unfit[0]}." if unfit else "Most tests cannot be judged."
    if counts["improvement"]:
        return "improvement", f"{_tests(counts['improvement'])} of {compared} became faster or smaller.{also}"
    return "noise", f"None of {_tests(compared)} moved more than it usually does.{also}"


def context_difference(ours: model.Context, theirs: model.Context) -> str:
    """Return in words how a context differs from another."""
    said = [
        f"{name} {getattr(theirs, name)!r} became {getattr(ours, name)!r}"
        for name in model.ALIKE
        if getattr(ours, name) != getattr(theirs, name)
    ]
    return "; ".join(said)


def _of_change(
    name: ItemName, change: Change, place: MeasuredContext, unfit: str | None, *, known: bool
) -> ItemVerdict:
    short = change.history < LEAST_HISTORY
    verdict, reason = _judged(change) if unfit is None else ("unfit", unfit)
    if unfit is None and short:
        reason += f"; low confidence, with a history of {change.history}"
    elif unfit is None and not known:
        reason += "; low confidence, with too few tests to tell how the machine was"
    return ItemVerdict(
        *(verdict, place.ids[name], *name, place.context_h, change.base, change.head, change.level),
        *(change.ratio, change.corrected_ratio, change.noise, change.history),
        *("low" if short or not known else "normal", reason),
    )


def _judged(change: Change) -> tuple[Verdict, str]:
    if change.noise is None:
        return "unfit", "too little history, and too few tests to learn from them how much is usual"
    more = change.direction > 0
    if not change.direction:
        return "noise", "within what is usual"
    if change.confirmed:
        return ("regression" if more else "improvement"), "seen in more than one session"
    if change.confirmed is None:
        # Who waits for a regression must not be stopped by what may be an improvement.
        return ("suspect" if more else "noise"), "seen once: the next session will tell"
    return "noise", "seen once, and not in the next session"


def _without(
    name: ItemName, verdict: Verdict, place: MeasuredContext, base: float | None, head: float | None, reason: str
) -> ItemVerdict:
    return ItemVerdict(
        *(verdict, place.ids[name], *name, place.context_h, base, head, None, None, None, None),
        *(0, "normal", reason),
    )


def _size(row: ItemVerdict) -> float:
    if row.corrected_ratio is None or row.corrected_ratio <= 0:
        return 0.0
    return abs(math.log(row.corrected_ratio))


def _tests(number: int) -> str:
    return f"{number} test" if number == 1 else f"{number} tests"
