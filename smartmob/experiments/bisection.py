"""The course of a bisection: measure the ends, the merge bases, then single commits until the changed one is known."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Collection
from dataclasses import dataclass, field
from typing import Literal

from smartmob.errors import InvalidInput
from smartmob.experiments.bisection_report import (
    Answer,
    BisectionReport,
    BisectionStep,
    Candidate,
    Outcome,
    is_changed,
    measured_ratio,
)
from smartmob.experiments.commit_history import CommitHistory
from smartmob.experiments.commit_search import CommitSearch
from smartmob.experiments.model import VerdictOnTest

_LEAST_SECONDS = 60.0  # the least time for the measurement of a commit, unless less is left
_SHARE = 0.25  # the largest share of the remaining seconds for one commit: another one may tell more

Measure = Callable[[str, VerdictOnTest | None, float], Awaitable[list[VerdictOnTest]]]
"""Measures the test (None: all) of a commit beside the good one within some seconds at most; raises InvalidInput."""


@dataclass(slots=True)
class Bisection:
    """One bisection. `show` is called with each step; commits in `skip` are not measured.

    After `run` has raised CancelledError, `report` returns the interval so far.
    """

    history: CommitHistory
    measure: Measure
    max_seconds: float
    show: Callable[[BisectionStep, CommitSearch], None]
    skip: Collection[str] = ()
    steps: list[BisectionStep] = field(default_factory=list)
    ends: VerdictOnTest | None = None
    notes: list[str] = field(default_factory=list)
    _search: CommitSearch = field(init=False)
    _verdict: Outcome = "interrupted"
    _ended: str = "it was interrupted"
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self._search = CommitSearch(self.history.parents)
        for commit in self.skip:
            self._search.skip(commit)

    async def run(self) -> None:
        """Search until the commit is known or the time is up; raises InvalidInput when the ends cannot be measured."""
        try:
            async with asyncio.timeout(self.max_seconds):
                if await self._ends_differ() and await self._bases_are_unchanged():
                    await self._find()
        except TimeoutError:
            self._ended = "the time was up"

    def report(self) -> BisectionReport:
        """Return the present result."""
        commits = self._candidates()
        probabilities = self._search.probabilities()
        notes = [(commit, self.history.note(commit)) for commit in commits]
        direction: Literal["slower", "faster", ""] = ""
        if self.ends is not None and self.ends.verdict in ("slower", "faster"):
            direction = "slower" if self.ends.verdict == "slower" else "faster"
        return BisectionReport(
            verdict=self._verdict,
            direction=direction,
            test="" if self.ends is None else self.ends.name,
            good=self.history.good,
            bad=self.history.bad,
            candidates=[
                Candidate(commit, note.short, note.author, note.time, note.subject, probabilities[commit])
                for commit, note in notes
            ],
            confidence=sum(probabilities[commit] for commit in commits),
            commits=len(self._search.commits),
            contradictions=self._search.contradictions(commits) if self._verdict in ("found", "several") else 0,
            steps=self.steps,
            seconds=time.monotonic() - self._started,
            ended=self._ended,
            notes=self.notes,
        )

    def _candidates(self) -> list[str]:
        """Return the commits that can still be the changed one."""
        if self._verdict not in ("found", "several", "interrupted"):
            return []
        result = None if self._verdict == "interrupted" else self._search.result()
        return self._search.likely() if result is None else result

    async def _ends_differ(self) -> bool:
        """Measure both ends, and choose the test that differs most; return whether there is one."""
        began = time.monotonic()
        found = await self.measure(self.history.bad, None, self.max_seconds / 2)
        changed = [each for each in found if each.verdict in ("slower", "faster") and _size(each) > 0]
        if not changed:
            is_same = all(each.verdict == "same" for each in found)
            self._verdict = "same" if is_same else "undecided"
            self._ended = "good and bad do not differ" if is_same else "it is undecided whether good and bad differ"
            self.ends = found[0] if len(found) == 1 else None
            answer: Answer = "unchanged" if is_same else "cannot be told"
            self._note_step(self.history.bad, answer, found[0], began)
            return False
        self.ends = max(changed, key=_size)
        if len(found) > 1:
            self.notes.append(
                f"{len(changed)} of {len(found)} tests differ{'s' if len(changed) == 1 else ''}; the search was for "
                f"{self.ends.name}, which differs most"
            )
        self._note_step(self.history.bad, "changed", self.ends, began)
        return True

    async def _bases_are_unchanged(self) -> bool:
        """Measure the merge bases if good is on another branch: it may be good because of a commit that bad lacks."""
        for commit in self.history.bases:
            if await self._ask(commit) is True:
                short = self.history.note(commit).short
                self._verdict = "only in good"
                self._ended = f"the merge base {short} is like bad: the change is in the history of good since then"
                return False
        return True

    async def _find(self) -> None:
        while (result := self._search.result()) is None:
            commit = self._search.next()
            if commit is None:
                break
            answer = await self._ask(commit)
            if answer is not None:
                self._search.add(commit, changed=answer)
        if result is not None and len(result) == 1:
            self._verdict, self._ended = "found", "the commit was found"
        elif result == []:
            self._verdict, self._ended = "not found", "each commit between is like good"
        else:
            self._verdict, self._ended = "several", "no commit between them can be measured"

    async def _ask(self, commit: str) -> bool | None:
        """Measure a commit; return whether it has the change, or None if it cannot be decided."""
        assert self.ends is not None
        began = time.monotonic()
        left = self._started + self.max_seconds - began
        seconds = min(left, max(_LEAST_SECONDS, left * _SHARE))
        try:
            [found] = await self.measure(commit, self.ends, seconds)
        except InvalidInput as error:
            self._search.skip(commit)
            self._note_step(commit, "skipped", None, began, str(error))
            return None
        changed = is_changed(found, self.ends)
        if changed is None:
            self._search.unsure(commit)
        names: dict[bool | None, Answer] = {True: "changed", False: "unchanged", None: "cannot be told"}
        self._note_step(commit, names[changed], found, began, found.reason)
        return changed

    def _note_step(
        self, commit: str, answer: Answer, found: VerdictOnTest | None, began: float, reason: str = ""
    ) -> None:
        seconds = time.monotonic() - began
        if found is None:
            step = BisectionStep(commit, answer, seconds=seconds, reason=reason)
        else:
            by_clock = found.witness != "instructions"
            low, high = (found.low, found.high) if by_clock else (None, None)
            ratio = measured_ratio(found, found.witness)
            step = BisectionStep(commit, answer, found.witness, ratio, low, high, found.pairs, seconds, reason)
        self.steps.append(step)
        self.show(step, self._search)


def _size(found: VerdictOnTest) -> float:
    """Return how far the ratio is from 1, in either direction; 0 if it has none."""
    ratio = measured_ratio(found, found.witness)
    return 0.0 if ratio is None else max(ratio, 1 / ratio) - 1
