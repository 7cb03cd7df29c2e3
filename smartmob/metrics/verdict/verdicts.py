"""Verdicts on a comparison: one for each test, one for the machine and one for the whole, each with its reason in
words.

They are made of the numbers of `change_detection`, and are what the routes answer. No I/O.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

import msgspec

from smartmob import case_names, verdict_words
from smartmob.metrics import model
from smartmob.metrics.verdict.change_detection import (
    MIN_HISTORY,
    MIN_TESTS,
    ChangeLimits,
    DetectedChange,
    DetectedChanges,
    ItemName,
    Shift,
)
from smartmob.metrics.verdict.host_load import HostLoadFound
from smartmob.metrics.verdict.place import ComparedPlaces
from smartmob.metrics.verdict.scales import SCALES

Verdict = Literal["regression", "suspect", "unfit", "improvement", "gone", "new", "noise"]
Confidence = Literal["normal", "low"]
Alarm = Literal["regression", "suspect", "shift", "gone", "unfit"]
Resource = Literal["total_time", "user_time", "kernel_time", "cpu_usage", "mem_usage"]
Effect = Annotated[float, msgspec.Meta(ge=0, le=100)]
LeastChange = Annotated[float, msgspec.Meta(ge=0, le=1e9)]
MAX_NAME_CHARACTERS = 512
Name = Annotated[str, msgspec.Meta(min_length=1, max_length=MAX_NAME_CHARACTERS)]

VERDICTS: tuple[Verdict, ...] = ("regression", "suspect", "unfit", "improvement", "gone", "new", "noise")
"""From the worst to those that need no attention."""

_LEAST_SHOWN = 0.001
"""Least usual variation that is shown as a number: the last digit that is printed."""

DEFAULT_EFFECT = 0.05
"""Least change that matters, as a share of the level."""


class ComparisonRequest(msgspec.Struct, frozen=True, kw_only=True):
    """A base and a head, each a run, a session, a commit or `latest~N`, and the changes that matter.

    `min_effect` is a share of the usual value. `min_change` is in the unit of the resource, by default 1 ms, 0.05
    cores or 1 MB, and 0 for times and memory of benchmarks. `limit` bounds the tests in the answer, the worst first;
    the counts include all tests. `across` compares metrics of different machines, with low confidence.
    """

    base: Name = "latest~1"
    head: Name = "latest"
    resource: Resource = "total_time"
    min_effect: Effect = DEFAULT_EFFECT
    min_change: LeastChange | None = None
    limit: model.Limit = 10_000
    across: bool = False

    def limits(self) -> ChangeLimits:
        """Return the changes that matter."""
        return ChangeLimits(self.min_effect, self.min_change)


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
    """The factor by which all tests moved together: a finding about the machine, for which the tests are corrected.

    `usual` is the factor by which it varies from one run to the next. Both are null where there is too little to
    estimate them. `tests` is the number of tests that were compared. The verdict is `unknown` without a `ratio`, and
    where the `ratio` is small and `usual` is not known.
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
    runs. `renamed_from` is the name by which the base knows the test, as `path::variant`, if that is another one.
    `word` is the verdict as people read it. `since` is the commit (or the run) with which the test became slower, if it
    still is and the verdict is `noise`.
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
    renamed_from: str | None = None
    word: str = ""
    since: str | None = None


class ComparedContext(msgspec.Struct, frozen=True):
    """A machine and a Python on which both sides were measured. `sessions` is the number of earlier runs.

    `place` names the rule by which metrics count as those of one machine.
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
    each verdict, `renamed` the number of tests that the base knows by another name. `alarms` are the keys of
    `--fail-on` that apply. `word` is the verdict as people read it, and `words` has the word of each verdict.
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
    renamed: int
    alarms: list[Alarm]
    word: str
    words: dict[str, str]


class Environment(msgspec.Struct, frozen=True):
    """A machine with a Python, by one of its contexts, and the ids of the tests that were measured there.

    `renamed` has the name in the base of each test that has another name in the head.
    """

    context_h: str
    machine_node: str
    python_info: str
    ids: dict[ItemName, str]
    renamed: dict[ItemName, ItemName] = {}


UNKNOWN_SHIFT = ShiftFound(
    "unknown", None, None, 0, "The machine cannot be judged without an earlier run of the same tests on it."
)


def describe_shift(shift: Shift, resource: str) -> ShiftFound:
    """Return the finding about the machine."""
    if shift.ratio is None:
        if not SCALES[resource].has_shift:
            explanation = "Memory does not follow the load of a machine, so the tests were not corrected for it."
        else:
            explanation = (
                "No test was measured there before, so the machine cannot be judged."
                if not shift.tests
                else f"Only {number_of_tests(shift.tests)} can be compared: a slower machine looks the same as a "
                "slower test, so the tests were not corrected for it."
            )
        return ShiftFound("unknown", None, None, shift.tests, explanation)
    varies = f"; it varies by {variation(shift.usual - 1)} from one run to the next" if shift.usual is not None else ""
    took = f"All tests together took {shift.ratio:.2f} times as much as usual"
    unknown = "" if shift.usual is not None else (
        f" Its usual variation is known only after {MIN_HISTORY} earlier runs."
    )  # fmt: skip
    if not shift.notable:
        if shift.usual is None:
            explanation = (
                f"{took}, too little to call it a slower or faster machine. Each test is corrected for this.{unknown}"
            )
            return ShiftFound("unknown", shift.ratio, None, shift.tests, explanation)
        rare = abs(math.log(shift.ratio)) > math.log(shift.usual)
        reason = "too little to call it a slower or faster machine" if rare else "which is within the usual variation"
        explanation = f"{took}, {reason}{varies}."
        return ShiftFound("steady", shift.ratio, shift.usual, shift.tests, explanation)
    advice = "look for the cause in the machine, or in what all tests share"
    explanation = f"{took}{varies}. Each test is corrected for this; {advice}.{unknown}"
    return ShiftFound("slower" if shift.ratio > 1 else "faster", shift.ratio, shift.usual, shift.tests, explanation)


def item_verdicts(
    found: DetectedChanges, environment: Environment, unfit: str | None, since: str, resource: str
) -> list[ItemVerdict]:
    """Return the verdict on each test. `unfit` is the reason why no test of this environment can be judged, or None.

    `since` names what the head is compared with: "base" or "history". `resource` is what is compared.
    """
    verdicts = [
        _verdict_on_change(name, change, environment, unfit, found.shift.tests, resource)
        for name, change in found.changes.items()
    ]
    verdicts += [
        _verdict_without_history(name, "new", environment, None, value, f"the {since} does not have it")
        for name, value in found.new.items()
    ]
    verdicts += [
        _verdict_without_history(name, "gone", environment, value, None, "the head does not have it")
        for name, value in found.gone.items()
    ]
    return verdicts


def unfit_verdicts(values: Mapping[ItemName, float], environment: Environment, reason: str) -> list[ItemVerdict]:
    """Return the verdicts on tests of a head that has nothing to be compared with."""
    return [_verdict_without_history(name, "unfit", environment, None, value, reason) for name, value in values.items()]


def with_low_confidence(verdicts: Iterable[ItemVerdict], doubt: str) -> list[ItemVerdict]:
    """Return verdicts with low confidence, because the machine is in doubt."""
    return [
        msgspec.structs.replace(row, confidence="low", reason=f"{row.reason}; low confidence: {doubt}")
        for row in verdicts
    ]


def with_merged_names(verdicts: Iterable[ItemVerdict], executions: Mapping[ItemName, int]) -> list[ItemVerdict]:
    """Return verdicts; the reason of a name that stands for several executions in a session has their number."""
    found = []
    for row in verdicts:
        number = executions.get((row.path, row.item, row.variant, row.kind), 1)
        if number > 1 and row.verdict not in ("unfit", "gone"):
            row = msgspec.structs.replace(row, reason=f"{row.reason}; the least of {number} executions with this name")
        found.append(row)
    return found


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


def worded(verdicts: Iterable[ItemVerdict], resource: str) -> list[ItemVerdict]:
    """Return the verdicts with their words."""
    return [
        msgspec.structs.replace(
            row,
            word=verdict_words.word(row.verdict, resource)
            if row.since is None
            else verdict_words.still(row.since, resource),
        )
        for row in verdicts
    ]


def is_notable(row: ItemVerdict) -> bool:
    """Return whether a row is more than "no change": a test that was renamed or is still slower counts too."""
    return row.verdict != "noise" or row.renamed_from is not None or row.since is not None


def variation(share: float) -> str:
    """Return a usual variation in words; one that is too small for the shown digits is not written as zero."""
    return f"{share:.1%}" if share >= _LEAST_SHOWN else f"less than {_LEAST_SHOWN:.1%}"


def context_difference(ours: model.Context, theirs: model.Context) -> str:
    """Return in words how a context differs from another, "" if they are the same environment."""
    differences = [
        f"{name} {getattr(theirs, name)!r} became {getattr(ours, name)!r}"
        for name in model.ENVIRONMENT_FIELDS
        if getattr(ours, name) != getattr(theirs, name)
    ]
    return "; ".join(differences)


def _verdict_on_change(
    name: ItemName, change: DetectedChange, environment: Environment, unfit: str | None, tests: int, resource: str
) -> ItemVerdict:
    short, known = change.history < MIN_HISTORY, tests >= MIN_TESTS
    verdict, reason = _classify(change, tests) if unfit is None else ("unfit", unfit)
    if unfit is None and short and verdict != "unfit":
        reason += f"; low confidence, with a history of {change.history}"
    elif unfit is None and not known and verdict != "unfit":
        reason += "; low confidence, with too few tests to judge the machine"
    since = change.since or None if verdict == "noise" else None
    if since is not None and not change.direction:
        more, commit = verdict_words.word("regression", resource), since[: verdict_words.SHORT]
        reason = f"as in the previous run, but {more} since {commit}{reason.removeprefix(_USUAL)}"
    before = environment.renamed.get(name)
    if before is not None:
        reason = f"renamed from {test_name(before)}; {reason}"
    return msgspec.structs.replace(
        _verdict_without_history(name, verdict, environment, change.base, change.head, reason),
        level=change.level,
        ratio=change.ratio,
        corrected_ratio=change.corrected_ratio,
        mad=change.noise,
        sessions=change.history,
        confidence="low" if short or not known else "normal",
        renamed_from=None if before is None else test_name(before),
        since=since,
    )


def item_name(row: Any) -> ItemName:
    """Return the name of a stored test; methods of two classes are two tests if the location has the class."""
    variant = case_names.variant_with_class(row["item_fs_loc"], row["item"], row["item_variant"])
    return row["item_path"], row["item"], variant, row["kind"]


def test_name(name: ItemName) -> str:
    """Return the name of a test as its path and variant."""
    path, item, variant, _ = name
    return f"{path}::{variant or item}"


_USUAL = "within what is usual"


def _classify(change: DetectedChange, tests: int) -> tuple[Verdict, str]:
    if change.noise is None:
        return "unfit", (
            f"too little history ({change.history} of {MIN_HISTORY} runs), and too few tests ({tests} of {MIN_TESTS}) "
            "to estimate the usual variation"
        )
    more = change.direction > 0
    if not change.direction:
        return "noise", _USUAL
    if change.confirmed:
        return ("regression" if more else "improvement"), "seen in more than one run"
    if change.confirmed is None:
        # An unconfirmed improvement needs no attention, an unconfirmed regression does.
        return ("suspect", "seen in one run: run again") if more else ("noise", "less, but seen in one run only")
    return "noise", f"{'more' if more else 'less'}, but not in the next run"


def _verdict_without_history(
    name: ItemName, verdict: Verdict, environment: Environment, base: float | None, head: float | None, reason: str
) -> ItemVerdict:
    """Return a verdict without a history, as on a test that has a value in the base or in the head only."""
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


def number_of_tests(number: int) -> str:
    """Return a number of tests in words."""
    return f"{number} test" if number == 1 else f"{number} tests"
