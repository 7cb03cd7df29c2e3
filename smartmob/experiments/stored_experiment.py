"""The parts in which a report is stored and listed: its summary, its details, its tests and its pairs. No I/O."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from uuid import UUID

import msgspec

from smartmob.errors import InvalidInput
from smartmob.experiments.decision import overall
from smartmob.experiments.model import Count, ExperimentReport, Fact, Pair, SideReport, Verdict, VerdictOnTest
from smartmob.medians import median

MAX_BYTES = 16 * 1024 * 1024
"""The bytes of a stored report as JSON: some 20,000 tests with five pairs each."""


class ExperimentSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment in a list: its sides, its verdict, and how many tests have each verdict."""

    id: UUID
    started_at: datetime
    ended_at: datetime
    stored_at: datetime
    machine: str
    verdict: Verdict
    base: SideReport
    head: SideReport
    tests: Count
    counts: dict[str, Count]
    pairs: Count
    ended: str


class Details(msgspec.Struct, frozen=True, kw_only=True):
    """An experiment without its tests and pairs."""

    summary: ExperimentSummary
    min_effect: float
    confidence: float
    seconds: float
    machine: Mapping[str, Fact]
    notes: list[str]


class VerdictsPage(msgspec.Struct, frozen=True, kw_only=True):
    """Tests of an experiment, those that need most attention first; `total` is the number of matching tests."""

    tests: list[VerdictOnTest]
    total: Count


class PairOfTest(msgspec.Struct, frozen=True, kw_only=True):
    """A pair in time. `ratio` is head / base of one test, or the median of all; null if it was set aside.

    `others` are the processors that other programs took meanwhile, by name.
    """

    number: Count
    first: str
    at: float
    seconds: float
    ratio: float | None
    tests: Count
    others: Mapping[str, float]


class PairsOfTest(msgspec.Struct, frozen=True):
    """The pairs of an experiment in their order."""

    pairs: list[PairOfTest]


def summary_of(report: ExperimentReport, stored_at: datetime) -> ExperimentSummary:
    """Return the summary of a report; raises InvalidInput where the report contradicts itself or has no id or time."""
    if report.id is None:
        raise InvalidInput.at("$.id", "expected the id of the experiment, a UUID")
    if report.started_at is None:
        raise InvalidInput.at("$.started_at", "expected the time at which the experiment began")
    names = Counter(test.name for test in report.tests)
    repeated = next((name for name, number in names.items() if number > 1), None)
    if repeated is not None:
        raise InvalidInput.at("$.tests", f"the test {repeated[:200]} is there {names[repeated]} times")
    if report.verdict != overall(report.tests):
        raise InvalidInput.at("$.verdict", f"its tests say {overall(report.tests)}, not {report.verdict}")
    unknown = next((name for pair in report.pairs for name in pair.ratios if name not in names), None)
    if unknown is not None:
        raise InvalidInput.at("$.pairs", f"there is no test {unknown[:200]}")
    try:
        ended_at = report.started_at + timedelta(seconds=report.seconds)
    except OverflowError:
        raise InvalidInput.at("$.started_at", "the experiment would end after the year 9999") from None
    return ExperimentSummary(
        id=report.id,
        started_at=report.started_at,
        ended_at=ended_at,
        stored_at=stored_at,
        machine=str(report.machine.get("name") or ""),
        verdict=report.verdict,
        base=report.base,
        head=report.head,
        tests=len(report.tests),
        counts=dict(Counter(test.verdict for test in report.tests)),
        pairs=len(report.pairs),
        ended=report.ended,
    )


def details_of(report: ExperimentReport, summary: ExperimentSummary) -> Details:
    """Return the details of a report."""
    return Details(
        summary=summary,
        min_effect=report.min_effect,
        confidence=report.confidence,
        seconds=report.seconds,
        machine=report.machine,
        notes=report.notes,
    )


def report_of(details: Details, tests: list[VerdictOnTest], pairs: list[Pair]) -> ExperimentReport:
    """Return the report that consists of these parts."""
    found = details.summary
    return ExperimentReport(
        verdict=found.verdict,
        base=found.base,
        head=found.head,
        tests=tests,
        min_effect=details.min_effect,
        confidence=details.confidence,
        pairs=pairs,
        seconds=details.seconds,
        ended=found.ended,
        machine=details.machine,
        notes=details.notes,
        id=found.id,
        started_at=found.started_at,
    )


def pairs_of(pairs: Iterable[Pair], test: str | None) -> PairsOfTest:
    """Return the pairs in time with the ratio of a test, or with the median ratio of all tests."""
    return PairsOfTest(
        [
            PairOfTest(
                number=pair.number,
                first=pair.first,
                at=pair.at,
                seconds=pair.seconds,
                ratio=_ratio(pair, test),
                tests=len(pair.ratios),
                others=pair.others,
            )
            for pair in pairs
        ]
    )


def _ratio(pair: Pair, test: str | None) -> float | None:
    """Return the ratio of a test in a pair, or the median of all; None without one, or if it exceeds a float."""
    found = [ratio for name, ratio in pair.ratios.items() if test in (None, name)]
    try:
        return math.exp(median(found)) if found else None
    except OverflowError:
        return None


def fitted(report: ExperimentReport) -> tuple[bytes, str]:
    """Return a report as JSON, and the name of the part that was left out because of its size, or ""."""
    encoded = msgspec.json.encode(report)
    left_out = ""
    open_tests = {test.name for test in report.tests if test.verdict != "same"}
    for kept, words in (
        (open_tests, "the ratios of single pairs of unchanged tests"),
        ((), "the ratios of single pairs"),
    ):
        if len(encoded) <= MAX_BYTES:
            return encoded, left_out
        left_out = words
        pairs = [
            msgspec.structs.replace(pair, ratios={name: pair.ratios[name] for name in kept if name in pair.ratios})
            for pair in report.pairs
        ]
        notes = [*report.notes, f"{words} were left out, since the report was too large"]
        encoded = msgspec.json.encode(msgspec.structs.replace(report, pairs=pairs, notes=notes))
    return encoded, left_out
