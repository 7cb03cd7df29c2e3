"""The summary of a comparison: the verdict on the whole, its explanation, and the alarms, all from the rows. No I/O."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from typing import NamedTuple

import msgspec

from smartmob.metrics.verdict.change_detection import ItemName
from smartmob.metrics.verdict.verdicts import (
    DEFAULT_EFFECT,
    Alarm,
    ComparedContext,
    ItemVerdict,
    Verdict,
    count_verdicts,
    number_of_tests,
)
from smartmob.verdict_words import SHORT, still, word

ALARMS: tuple[Alarm, ...] = ("regression", "suspect", "shift", "gone", "unfit")
"""The words of `--fail-on`."""

_MAX_MACHINES = 3  # named in the explanation; all are in the contexts of the comparison
_MAX_COMMITS = 3  # named in the explanation; each row has its own


class VerdictCounts(NamedTuple):
    """The numbers that decide: rows by verdict, those that were judged, and the most common reason of unfit ones.

    `still` counts tests that are as slow as in the run before, and slower than before the commits `since`.
    """

    rows: int
    judged: int
    regression: int
    suspect: int
    unfit: int
    improvement: int
    gone: int
    new: int
    noise: int
    renamed: int
    reason: str
    still: int
    since: tuple[str, ...]


class Decision(NamedTuple):
    """A row of the decision table: `when` states its condition in words, `text` begins the explanation."""

    when: str
    applies: Callable[[VerdictCounts], bool]
    verdict: Verdict
    text: str


DECISIONS: tuple[Decision, ...] = (
    Decision("there is no row", lambda t: not t.rows, "unfit", "neither side has a measured test."),
    Decision(
        "`regression` > 0",
        lambda t: t.regression > 0,
        "regression",
        "{regression_count} of {judged_tests} became {slower}.",
    ),
    Decision(
        "`suspect` > 0",
        lambda t: t.suspect > 0,
        "suspect",
        "{suspect_count} of {judged_tests} may have become {slower}: run the suite again to tell.",
    ),
    Decision(
        "all rows are `new`",
        lambda t: t.new == t.rows,
        "unfit",
        "all tests are new: there is nothing to compare them with.",
    ),
    Decision(
        "judged = 0 and `gone` > `unfit`",
        lambda t: not t.judged and t.gone > t.unfit,
        "gone",
        "No test was judged.",
    ),
    Decision("judged = 0", lambda t: not t.judged, "unfit", "{reason}."),
    Decision(
        "`gone` > judged and `gone` > `unfit`",
        lambda t: t.gone > max(t.judged, t.unfit),
        "gone",
        "More tests are gone than were judged ({judged}).",
    ),
    Decision("`unfit` > judged", lambda t: t.unfit > t.judged, "unfit", "most tests cannot be judged: {reason}."),
    Decision(
        "`improvement` > 0",
        lambda t: t.improvement > 0,
        "improvement",
        "{improvement_count} of {judged_tests} became {faster}.",
    ),
    Decision("`gone` > 0", lambda t: t.gone > 0, "gone", "None of {judged_tests} became {slower} or {faster}."),
    Decision("otherwise", lambda _: True, "noise", "None of {judged_tests} became {slower} or {faster}."),
)
"""The decision table of the verdict on the whole: the first row that applies. docs/reference/verdicts.md shows it."""


class VerdictSummary(NamedTuple):
    """The verdict on the whole with its word, its explanation, the number of each verdict and of renamed tests, and the
    alarms.
    """

    verdict: Verdict
    word: str
    explanation: str
    counts: dict[str, int]
    renamed: int
    alarms: list[Alarm]


def summarise(
    rows: Sequence[ItemVerdict], contexts: Sequence[ComparedContext], resource: str = "total_time"
) -> VerdictSummary:
    """Return the summary of a comparison with these rows and findings about machines."""
    tally = _tally(rows)
    decision = next(decision for decision in DECISIONS if decision.applies(tally))
    sentences = [_begin(decision, tally, resource), *_rest(decision, tally, resource), *_machines(contexts)]
    if not tally.judged and (largest := _largest_change(rows)):
        sentences.insert(1, largest)
    return VerdictSummary(
        decision.verdict,
        _word(decision.verdict, tally, resource),
        " ".join(sentences),
        count_verdicts(rows),
        tally.renamed,
        _alarms(decision.verdict, tally, contexts),
    )


def _word(verdict: Verdict, tally: VerdictCounts, resource: str) -> str:
    """Return the word of the whole: with tests that are still slower it is not "no change"."""
    if verdict != "noise" or not tally.still:
        return word(verdict, resource)
    return still(tally.since[0], resource) if len(tally.since) == 1 else f"still {word('regression', resource)}"


def resolve_other_machines(rows: Sequence[ItemVerdict]) -> list[ItemVerdict]:
    """Return the rows of all machines; a test that both sides have on different machines is neither new nor gone."""
    listed = {_name(row) for row in rows if row.verdict in ("new", "unfit")}
    in_head = {_name(row) for row in rows if row.verdict != "gone"}
    in_base = {_name(row) for row in rows if row.verdict == "gone" or row.base is not None or row.sessions}
    resolved = []
    for row in rows:
        name = _name(row)
        if row.verdict == "new" and name in in_base:
            row = _unfit(row, "it was measured on another machine before")
        elif row.verdict == "gone" and name in listed:
            continue  # the first row already covers it
        elif row.verdict == "gone" and name in in_head:
            row = _unfit(row, "the head measured it on another machine")
        resolved.append(row)
    return resolved


def without_value(
    rows: Sequence[ItemVerdict], head: set[ItemName], base: set[ItemName], resource: str
) -> list[ItemVerdict]:
    """Return the rows; a test that was executed in the `head` or the `base` without a value is neither gone nor new."""
    resolved = []
    for row in rows:
        if row.verdict == "gone" and _name(row) in head:
            row = _unfit(row, f"the head executed it without a value of {resource}")
        elif row.verdict == "new" and _name(row) in base:
            row = _unfit(row, f"the base executed it without a value of {resource}")
        resolved.append(row)
    return resolved


def _unfit(row: ItemVerdict, reason: str) -> ItemVerdict:
    return msgspec.structs.replace(row, verdict="unfit", reason=reason)


def _name(row: ItemVerdict) -> ItemName:
    return row.path, row.item, row.variant, row.kind


def _tally(rows: Sequence[ItemVerdict]) -> VerdictCounts:
    counts = count_verdicts(rows)
    reasons = Counter(row.reason for row in rows if row.verdict == "unfit")
    return VerdictCounts(
        rows=len(rows),
        judged=sum(counts[verdict] for verdict in ("regression", "suspect", "improvement", "noise")),
        renamed=sum(1 for row in rows if row.renamed_from is not None),
        # Of equally common reasons take the first in alphabetical order, so that the order of rows does not matter.
        reason=min(reasons, key=lambda reason: (-reasons[reason], reason), default=""),
        still=sum(1 for row in rows if row.since is not None),
        since=tuple(sorted({row.since for row in rows if row.since is not None})),
        **counts,
    )


def _begin(decision: Decision, tally: VerdictCounts, resource: str) -> str:
    numbers = tally._asdict()
    words = {f"{name}_tests": number_of_tests(number) for name, number in numbers.items() if isinstance(number, int)}
    words |= {f"{name}_count": str(number) for name, number in numbers.items() if isinstance(number, int)}
    words |= {"slower": word("regression", resource), "faster": word("improvement", resource)}
    return decision.text.format(**numbers, **words)


def _rest(decision: Decision, tally: VerdictCounts, resource: str) -> list[str]:
    """Return a sentence for each number that the beginning of the explanation does not contain."""
    sentences = []
    if tally.still:
        more, is_are = word("regression", resource), "is" if tally.still == 1 else "are"
        commits = ", ".join(since[:SHORT] for since in tally.since[:_MAX_COMMITS])
        others = len(tally.since) - _MAX_COMMITS
        commits += f" and {others} more" if others > 0 else ""
        sentences.append(f"{number_of_tests(tally.still)} {is_are} still {more} than before {commits}.")
    if tally.suspect and decision.verdict == "regression":
        more_tests = "more test" if tally.suspect == 1 else "more tests"
        sentences.append(f"{tally.suspect} {more_tests} may have become {word('regression', resource)}.")
    if tally.improvement and decision.verdict != "improvement":
        sentences.append(f"{number_of_tests(tally.improvement)} became {word('improvement', resource)}.")
    if tally.unfit and decision.verdict != "unfit":
        sentences.append(f"{number_of_tests(tally.unfit)} cannot be judged: {tally.reason}.")
    for number, one, many in (
        (tally.gone, "is gone", "are gone"),
        (tally.new, "is new", "are new"),
        (tally.renamed, "was renamed", "were renamed"),
    ):
        if number:
            sentences.append(f"{number_of_tests(number)} {one if number == 1 else many}.")
    return sentences


def _machines(contexts: Sequence[ComparedContext]) -> list[str]:
    """Return a sentence for each machine that was slower or faster as a whole."""
    shifted = [context for context in contexts if context.shift.verdict in ("slower", "faster")]
    if len(contexts) == 1:
        return [f"The machine was {context.shift.verdict} as a whole." for context in shifted]
    named = [
        f"{context.machine_node or 'An unknown machine'} was {context.shift.verdict} as a whole."
        for context in shifted[:_MAX_MACHINES]
    ]
    more = len(shifted) - len(named)
    return (
        [*named, f"{more} more {'machine was' if more == 1 else 'machines were'} slower or faster."] if more else named
    )


def _largest_change(rows: Sequence[ItemVerdict]) -> str:
    """Return a sentence on the largest change among tests that were measured on both sides and not judged."""
    measured = [
        (row.corrected_ratio, row) for row in rows if row.corrected_ratio is not None and row.corrected_ratio > 0
    ]
    if not measured:
        return ""
    ratio, row = max(measured, key=lambda pair: (max(pair[0], 1 / pair[0]), pair[1].path, pair[1].variant))
    if max(ratio, 1 / ratio) < 1 + DEFAULT_EFFECT:
        return ""
    return (
        f"The largest difference is that of {row.path}::{row.variant or row.item}, {ratio:.2f} times the usual value."
    )


def _alarms(verdict: Verdict, tally: VerdictCounts, contexts: Sequence[ComparedContext]) -> list[Alarm]:
    applies: dict[Alarm, bool] = {
        "regression": tally.regression > 0,
        "suspect": tally.regression + tally.suspect > 0,
        "shift": any(context.shift.verdict in ("slower", "faster") for context in contexts),
        "gone": tally.gone > 0,
        "unfit": tally.unfit > 0 or verdict == "unfit",
    }
    return [alarm for alarm in ALARMS if applies[alarm]]
