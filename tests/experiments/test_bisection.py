"""The course of a bisection with given verdicts: ends, merge bases, skipped commits, and the time."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from smartmob.errors import InvalidInput
from smartmob.experiments.bisection import Bisection
from smartmob.experiments.bisection_report import BisectionReport
from smartmob.experiments.commit_history import CommitHistory
from smartmob.experiments.model import VerdictOnTest
from tests.experiments.verdicts import by_clock

SAME, SLOWER = by_clock("same", 1.0), by_clock("slower", 2.0)
LINE = {str(number): [str(number - 1)] if number else [] for number in range(8)}


@dataclass(slots=True)
class Verdicts:
    """Gives the verdict of each commit; a text is the reason why it cannot be measured, None waits until the end."""

    by_commit: Mapping[str, VerdictOnTest | str | None]
    otherwise: VerdictOnTest = SAME
    ends: list[VerdictOnTest] = field(default_factory=lambda: [SLOWER])
    asked: list[str] = field(default_factory=list)

    async def measure(self, commit: str, ends: VerdictOnTest | None, seconds: float) -> list[VerdictOnTest]:
        """Return the verdicts on a commit."""
        assert seconds > 0
        self.asked.append(commit)
        if ends is None:
            return self.ends
        found = self.by_commit.get(commit, self.otherwise)
        if isinstance(found, str):
            raise InvalidInput(found)
        if found is None:
            await asyncio.Event().wait()
            raise AssertionError
        return [found]


async def run(verdicts: Verdicts, bases: list[str] | None = None, seconds: float = 600.0) -> BisectionReport:
    """Bisect the history `LINE`."""
    history = CommitHistory(Path("/"), "good", "7", LINE, bases or [])
    bisection = Bisection(history, verdicts.measure, seconds, lambda step, search: None)
    await bisection.run()
    return bisection.report()


async def test_a_line_is_searched() -> None:
    """The commit is found by asking it and its neighbour twice."""
    verdicts = Verdicts({str(number): SLOWER for number in range(5, 8)})
    report = await run(verdicts)
    assert (report.verdict, report.direction, report.test) == ("found", "slower", "test_x")
    assert [each.commit for each in report.candidates] == ["5"]
    assert report.confidence >= 0.99
    assert verdicts.asked.count("5") == verdicts.asked.count("4") == 2
    assert len(report.steps) == len(verdicts.asked) <= 8


@pytest.mark.parametrize(
    ("ends", "verdict", "asked"),
    [([SAME], "same", 1), ([by_clock("undecided", 1.2)], "undecided", 1), ([SAME, SAME], "same", 1)],
)
async def test_ends_without_a_difference_end_it_at_once(ends: list[VerdictOnTest], verdict: str, asked: int) -> None:
    """Nothing else is measured."""
    verdicts = Verdicts({}, ends=ends)
    report = await run(verdicts)
    assert (report.verdict, report.candidates, len(verdicts.asked)) == (verdict, [], asked)


async def test_of_several_tests_the_most_different_is_searched_for() -> None:
    """A note says so."""
    verdicts = Verdicts(
        {"7": SLOWER}, ends=[SAME, by_clock("slower", 1.2, "test_a"), by_clock("faster", 0.2, "test_b")]
    )
    report = await run(verdicts)
    assert (report.test, report.direction) == ("test_b", "faster")
    assert report.notes == ["2 of 3 tests differ; the search was for test_b, which differs most"]


async def test_a_merge_base_with_the_change_ends_it() -> None:
    """The change is then in the history of good; a base without it changes nothing."""
    found = await run(Verdicts({"base": SLOWER}), ["base"])
    assert (found.verdict, found.candidates) == ("only in good", [])
    assert (await run(Verdicts({"7": SLOWER}), ["base"])).verdict == "found"


async def test_commits_that_cannot_be_measured_are_skipped() -> None:
    """The reason is a part of the report; several commits are left if they hide the change."""
    verdicts = Verdicts({"3": "no build", "4": "no build", "5": SLOWER, "6": SLOWER, "7": SLOWER})
    report = await run(verdicts)
    assert (report.verdict, [each.commit for each in report.candidates]) == ("several", ["3", "4", "5"])
    assert {step.reason for step in report.steps if step.answer == "skipped"} == {"no build"}
    assert verdicts.asked.count("3") == 1


async def test_a_commit_that_cannot_be_told_is_asked_twice() -> None:
    """Then it counts as one that cannot be measured."""
    unsure = by_clock("undecided", 1.4)
    report = await run(Verdicts({"4": unsure, "3": unsure, "5": SLOWER, "6": SLOWER, "7": SLOWER}))
    assert [each.commit for each in report.candidates] == ["3", "4", "5"]
    assert [step.commit for step in report.steps if step.answer == "cannot be told"].count("3") == 2


async def test_a_difference_that_was_none_is_told() -> None:
    """If each commit is like good, also the end, no commit is accused."""
    report = await run(Verdicts({}))
    assert (report.verdict, report.candidates) == ("not found", [])


async def test_the_interval_so_far_is_told_when_the_time_is_up() -> None:
    """The commits that are left have the confidence that one of them is it."""
    report = await run(Verdicts({"1": None, "2": None, "3": None}, otherwise=SLOWER), seconds=0.2)
    assert (report.verdict, report.ended) == ("interrupted", "the time was up")
    assert 0 < len(report.candidates) <= 8
    assert report.confidence >= 0.99


async def test_ends_that_cannot_be_measured_are_an_error() -> None:
    """Nothing can be searched then."""

    async def refuse(commit: str, ends: VerdictOnTest | None, seconds: float) -> list[VerdictOnTest]:
        raise InvalidInput("no test passes on both sides")

    history = CommitHistory(Path("/"), "good", "7", LINE, [])
    with pytest.raises(InvalidInput, match="no test passes"):
        await Bisection(history, refuse, 10.0, lambda step, search: None).run()
