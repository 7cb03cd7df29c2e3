"""Verdicts on a comparison: one for each test, one for the machine and one for the whole, each with its reason in
words.

They are made of the numbers of `change_detection`, and are what the routes answer. No I/O.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Literal

import msgspec

from smartmob.metrics import model
from smartmob.metrics.verdict.change_detection import (
    MIN_HISTORY,
    MIN_TESTS,
    SCALES,
    Change,
    DetectedChanges,
    ItemName,
    Limits,
    Shift,
)
from smartmob.metrics.verdict.host_load import HostLoadFound
from smartmob.metrics.verdict.place import ComparedPlaces

Verdict = Literal["regression", "suspect", "unfit", "improvement", "gone", "new", "noise"]
Confidence = Literal["normal", "low"]
Resource = Literal["total_time", "user_time", "kernel_time", "cpu_usage", "mem_usage"]
Effect = Annotated[float, msgspec.Meta(ge=0, le=100)]
LeastChange = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=512)]

VERDICTS: tuple[Verdict, ...] = ("regression", "suspect", "unfit", "improvement", "gone", "new", "noise")
"""From the worst to those that need no attention."""

DEFAULT_EFFECT = 0.05
"""Least change that matters, as a share of the level."""


class ComparisonRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A base and a head, each a run, a session, a commit or `latest~N`, and the changes that matter.

    `min_effect` is a share of the usual value. `min_change` is in the unit of the resource, by default 1 ms, 0.05
    cores or 1 MB. `limit` bounds the tests in the answer, the worst first; the counts include all tests. `across`
    compares measures of different machines, with low confidence.
    """

    base: Name = "latest~1"
    head: Name = "latest"
    resource: Resource = "total_time"
    min_effect: Effect = DEFAULT_EFFECT
    min_change: LeastChange | None = None
    limit: model.Limit = 10_000
    across: bool = False

    def limits(self) -> Limits:
        """Return the changes that matter."""
        change = SCALES[self.resource].least_change if self.min_change is None else self.min_change
        return Limits(self.min_effect, change)


class Side(msgspec.Struct, frozen=True):
    """The base or the head of a comparison.

    `id` is the id of the run, the hash of the session or the commit; `name` is the text of the request.
    """

    name: str
    kind: Literal["run", "session", "commit"]
    id: str
    scm_ref: str
    sessions: list[str]
    started_at: datetime


class ShiftFound(msgspec.Struct, frozen=True):
    """The factor by which all tests moved together: a finding about the machine, which is removed from the tests.

    `usual` is the factor by which it varies from one run to the next. Both are null where there is too little to
    estimate them. `tests` is the number of tests that were compared.
    """

    verdict: Literal["steady", "slower", "faster", "unknown"]
    ratio: float | None
    usual: float | None
    tests: int
    explanation: str


class ItemVerdict(msgspec.Struct, frozen=True):
    """The verdict on a test. Values are in the unit of the resource, null on the side that lacks the test.

    `level` is the usual value, `ratio` the head divided by the base as measured, `corrected_ratio` the head without the
    shift divided by the level, `mad` the usual distance from the level as a share, `sessions` the number of earlier
    runs.
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
    """A machine and a Python on which both sides were measured. `sessions` is the number of earlier runs.

    `place` tells by which rule measures count as those of one machine.
    """

    context_h: str
    machine_node: str
    python_info: str
    sessions: int
    shift: ShiftFound
    host: HostLoadFound | None
    place: model.Place


class Comparison(msgspec.Struct, frozen=True):
    """The changes from the base to the head; `base` is null if the head was compared with all runs before it.

    `shift` is that of the context with the most tests. `items` has the worst verdicts first, `counts` the number of
    each verdict.
    """

    base: Side | None
    head: Side
    places: ComparedPlaces
    resource: str
    unit: str
    verdict: Verdict
    explanation: str
    counts: dict[str, int]
    shift: ShiftFound
    contexts: list[ComparedContext]
    items: list[ItemVerdict]


class Environment(msgspec.Struct, frozen=True):
    """A machine with a Python, by one of its contexts, and the ids of the tests that were measured there."""

    context_h: str
    machine_node: str
    python_info: str
    ids: dict[ItemName, str]


UNKNOWN_SHIFT = ShiftFound(
    "unknown", None, None, 0, "The machine cannot be judged: no test was measured on both sides."
)


def describe_shift(shift: Shift, resource: str) -> ShiftFound:
    """Return the finding about the machine."""
    if shift.ratio is None:
        if not SCALES[resource].has_shift:
            explanation = "Memory does not follow the load of a machine, so nothing was removed from the tests."
        else:
            explanation = (
                f"Only {_number_of_tests(shift.tests)} can be compared: a slower machine cannot be told from a slower "
                "test, so nothing was removed from the tests."
            )
        return ShiftFound("unknown", None, None, shift.tests, explanation)
    varies = f"; it varies by {shift.usual - 1:.1%} from one session to the next" if shift.usual is not None else ""
    took = f"All tests together took {shift.ratio:.2f} times as much as usual"
    if not shift.notable:
        explanation = f"{took}, which is within the usual variation{varies}."
        return ShiftFound("steady", shift.ratio, shift.usual, shift.tests, explanation)
    advice = "look for the reason in the machine, or in what every test uses"
    explanation = f"{took}{varies}. That is removed from each test: {advice}."
    return ShiftFound("slower" if shift.ratio > 1 else "faster", shift.ratio, shift.usual, shift.tests, explanation)


def item_verdicts(found: DetectedChanges, environment: Environment, unfit: str | None, since: str) -> list[ItemVerdict]:
    """Return the verdict on each test. `unfit` is the reason why no test of this environment can be judged, or None.

    `since` names what the head is compared with: "base" or "history".
    """
    verdicts = [
        _verdict_on_change(name, change, environment, unfit, known=found.shift.tests >= MIN_TESTS)
        for name, change in found.changes.items()
    ]
    verdicts += [
        _one_sided_verdict(name, "new", environment, None, value, f"the {since} does not have it")
        for name, value in found.new.items()
    ]
    verdicts += [
        _one_sided_verdict(name, "gone", environment, value, None, "the head does not have it")
        for name, value in found.gone.items()
    ]
    return verdicts


def unfit_verdicts(values: Mapping[ItemName, float], environment: Environment, reason: str) -> list[ItemVerdict]:
    """Return the verdicts on tests of a head that has nothing to be compared with."""
    return [_one_sided_verdict(name, "unfit", environment, None, value, reason) for name, value in values.items()]


def with_low_confidence(verdicts: Iterable[ItemVerdict], doubt: str) -> list[ItemVerdict]:
    """Return verdicts in which there is little confidence, because the machine is in doubt."""
    return [
        msgspec.structs.replace(row, confidence="low", reason=f"{row.reason}; low confidence: {doubt}")
        for row in verdicts
    ]


def by_severity(verdicts: Iterable[ItemVerdict]) -> list[ItemVerdict]:
    """Return verdicts, the worst first, and among equal ones the largest change first."""
    rank = {verdict: number for number, verdict in enumerate(VERDICTS)}
    return sorted(verdicts, key=lambda row: (rank[row.verdict], -_change_size(row), row.path, row.item, row.variant))


def count_verdicts(verdicts: Iterable[ItemVerdict]) -> dict[str, int]:
    """Return the number of each verdict."""
    counts: dict[str, int] = dict.fromkeys(VERDICTS, 0)
    for row in verdicts:
        counts[row.verdict] += 1
    return counts


def overall_verdict(counts: Mapping[str, int], shift: ShiftFound, unfit: Sequence[str]) -> tuple[Verdict, str]:
    """Return the verdict on the whole and its reason; `unfit` are the reasons why tests could not be judged."""
    compared = sum(counts[verdict] for verdict in ("regression", "suspect", "improvement", "noise"))
    host = {"slower": " The machine was slower as a whole.", "faster": " The machine was faster as a whole."}
    also = host.get(shift.verdict, "")
    if not compared:
        return "unfit", f"Nothing can be said: {unfit[0] if unfit else 'no test was measured on both sides'}."
    if counts["regression"]:
        return "regression", f"{_number_of_tests(counts['regression'])} of {compared} became slower or larger.{also}"
    if counts["suspect"]:
        return "suspect", (
            f"{_number_of_tests(counts['suspect'])} of {compared} may have become slower or larger; the next session "
            f"will tell.{also}"
        )
    if counts["unfit"] > compared:
        return "unfit", f"Most tests cannot be judged: {unfit[0]}." if unfit else "Most tests cannot be judged."
    if counts["improvement"]:
        return "improvement", f"{_number_of_tests(counts['improvement'])} of {compared} became faster or smaller.{also}"
    return "noise", f"None of {_number_of_tests(compared)} moved more than it usually does.{also}"


def context_difference(ours: model.Context, theirs: model.Context) -> str:
    """Return in words how a context differs from another, "" if they are the same environment."""
    differences = [
        f"{name} {getattr(theirs, name)!r} became {getattr(ours, name)!r}"
        for name in model.ENVIRONMENT_FIELDS
        if getattr(ours, name) != getattr(theirs, name)
    ]
    return "; ".join(differences)


def _verdict_on_change(
    name: ItemName, change: Change, environment: Environment, unfit: str | None, *, known: bool
) -> ItemVerdict:
    short = change.history < MIN_HISTORY
    verdict, reason = _classify(change) if unfit is None else ("unfit", unfit)
    if unfit is None and short:
        reason += f"; low confidence, with a history of {change.history}"
    elif unfit is None and not known:
        reason += "; low confidence, with too few tests to judge the machine"
    path, item, variant, kind = name
    return ItemVerdict(
        verdict=verdict,
        item_id=environment.ids[name],
        path=path,
        item=item,
        variant=variant,
        kind=kind,
        context_h=environment.context_h,
        base=change.base,
        head=change.head,
        level=change.level,
        ratio=change.ratio,
        corrected_ratio=change.corrected_ratio,
        mad=change.noise,
        sessions=change.history,
        confidence="low" if short or not known else "normal",
        reason=reason,
    )


def _classify(change: Change) -> tuple[Verdict, str]:
    if change.noise is None:
        return "unfit", "too little history, and too few tests to estimate the usual variation"
    more = change.direction > 0
    if not change.direction:
        return "noise", "within what is usual"
    if change.confirmed:
        return ("regression" if more else "improvement"), "seen in more than one session"
    if change.confirmed is None:
        # An unconfirmed improvement needs no attention, an unconfirmed regression does.
        return ("suspect" if more else "noise"), "seen once: the next session will tell"
    return "noise", "seen once, and not in the next session"


def _one_sided_verdict(
    name: ItemName, verdict: Verdict, environment: Environment, base: float | None, head: float | None, reason: str
) -> ItemVerdict:
    """Return the verdict on a test that has a value in the base or in the head only."""
    path, item, variant, kind = name
    return ItemVerdict(
        verdict=verdict,
        item_id=environment.ids[name],
        path=path,
        item=item,
        variant=variant,
        kind=kind,
        context_h=environment.context_h,
        base=base,
        head=head,
        level=None,
        ratio=None,
        corrected_ratio=None,
        mad=None,
        sessions=0,
        confidence="normal",
        reason=reason,
    )


def _change_size(row: ItemVerdict) -> float:
    if row.corrected_ratio is None or row.corrected_ratio <= 0:
        return 0.0
    return abs(math.log(row.corrected_ratio))


def _number_of_tests(number: int) -> str:
    return f"{number} test" if number == 1 else f"{number} tests"
