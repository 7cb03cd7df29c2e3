"""The course of an experiment: warm-up, pairs in random order, instructions where the clock leaves it open, the report.

Pairs come in blocks of two, as ABBA or as BAAB at random, so that a machine that becomes slower and slower hits both
sides alike. Both processes of a pair have one hash seed, which the next pair does not have. Decided tests are not run
again.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Literal
from uuid import UUID

import msgspec
from msgspec.structs import replace

from smartmob.counts import counted
from smartmob.errors import InvalidInput
from smartmob.experiments import instruction_counts, measuring_machine
from smartmob.experiments.decision import CONFIDENCE, EvidenceOnTest, decide, decide_by_instructions, overall
from smartmob.experiments.measured_run import ENDS_OF_PYTEST, MeasuredRuns, RunPlan, RunResult, has_valgrind
from smartmob.experiments.model import ExperimentReport, Instructions, Measure, Pair
from smartmob.experiments.next_run import WARM_CALLS_COUNT, Calls, calls_of, chosen, shared_calls, with_memory
from smartmob.experiments.sides import Side
from smartmob.kernel.runtime import clock, ids

Witness = Literal["clock", "instructions", "both"]

CLOCK_PAIRS_COUNT = 5
"""Pairs after which the instructions of tests that the clock has not decided are counted."""

_BLOCKS_OF_ALL_COUNT = {"clock": 2, "instructions": 3, "both": 3}
"""The blocks of two pairs in which all tests run, by witness; instruction counts need the results of the first five
pairs.
"""

_COUNTED_CALLS_COUNT = 3  # the first one warms up
_COUNTING_SHARES = (1 / 3, 1 / 2)
"""The shares of the time that is left, of base and then of head, within which instructions are counted: what both do
not finish is left to the clock, which gets the last third.
"""
_CONFIRMING_CALLS_COUNT = 8  # counted calls of short tests with another hash seed; one may differ from the others
_HIGHEST_SEED = 4_294_967_295  # of PYTHONHASHSEED
_SHOWN_NAMES_COUNT = 3
_NODE_ID_SEPARATORS = ("::", "[")  # a path that contains one of them cannot be an argument of pytest
_RATIO_DIGITS = 6  # of the log-ratios in the report: a millionth of a time cannot be measured


class ExperimentLimits(msgspec.Struct, frozen=True):
    """The limits of an experiment: the smallest effect as a share, seconds, and pairs."""

    min_effect: float = 0.03
    max_seconds: float = 600.0
    max_pairs: int = 200


class Progress(msgspec.Struct):
    """The state that is shown while an experiment runs."""

    phase: str
    pairs: int = 0
    decided: int = 0
    tests: int = 0
    seconds: float = 0.0


class Experiment(msgspec.Struct):
    """One experiment. `random_order` draws orders and seeds, `show` gets the progress; head is longer by `slower`.
    `duet` are the processors on which the sides of a pair run at once.

    After `run` has raised an exception, even KeyboardInterrupt, `report` returns the present verdicts.
    """

    base: Side
    head: Side
    runs: MeasuredRuns
    limits: ExperimentLimits
    witness: Witness
    can_count: bool
    random_order: random.Random
    show: Callable[[Progress], None]
    memory_counts: bool = False
    slower: float = 0.0
    duet: tuple[int, int] | None = None
    tests: dict[str, EvidenceOnTest] = msgspec.field(default_factory=dict)
    pairs: list[Pair] = msgspec.field(default_factory=list)
    notes: list[str] = msgspec.field(default_factory=list)
    ended: str = "it was interrupted"
    _calls: dict[str, Calls] = msgspec.field(default_factory=dict)
    _files: dict[str, str] = msgspec.field(default_factory=dict)
    _start: float = 0.0  # seconds of a processor before the first test of a run
    _started: float = msgspec.field(default_factory=time.monotonic)
    _counted: bool = False
    _id: UUID = msgspec.field(default_factory=ids.uuid7)
    _started_at: datetime = msgspec.field(default_factory=clock.now)

    async def run(self) -> None:
        """Measure until all tests are decided or a limit is reached; raises InvalidInput."""
        try:
            async with asyncio.timeout(self.limits.max_seconds):
                await self._measure()
        except TimeoutError:
            self.ended = "the time was up"
            if not self.tests:
                running = "" if self.runs.stopped_in is None else f", in {self.runs.stopped_in}"
                raise InvalidInput(
                    f"the time was up{running} before both sides had run once; raise --max-time"
                ) from None

    async def _measure(self) -> None:
        await self._warm_up()
        others = measuring_machine.OtherPrograms()
        if self.witness == "instructions":
            await self._count(list(self.tests.values()))
        while (reason := self._reason_to_end()) is None:
            first = self.random_order.random() < 0.5
            for base_first in (first, not first):
                await self._pair(base_first, others)
                enough = len(self.pairs) >= min(CLOCK_PAIRS_COUNT, self.limits.max_pairs)
                if enough and self.witness != "clock" and not self._counted:
                    await self._count([test for test in self.tests.values() if test.clock != "same"])
                if self._reason_to_end() is not None:
                    break
        self.ended = reason

    def report(self) -> ExperimentReport:
        """Return the present verdicts."""
        verdicts = [test.verdict() for test in self.tests.values()]
        machine = measuring_machine.description()
        notes = [*self.notes, *measuring_machine.remarks(machine)]
        return ExperimentReport(
            verdict=overall(verdicts),
            base=self.base.report(),
            head=self.head.report(),
            tests=verdicts,
            min_effect=self.limits.min_effect,
            confidence=CONFIDENCE,
            pairs=self.pairs,
            seconds=time.monotonic() - self._started,
            ended=self.ended,
            machine=machine,
            notes=notes,
            id=self._id,
            started_at=self._started_at,
        )

    def _open(self) -> list[EvidenceOnTest]:
        """Return the tests that need more pairs."""
        return [test for test in self.tests.values() if test.decided is None or self._memory_is_open(test)]

    def _memory_is_open(self, test: EvidenceOnTest) -> bool:
        return self.memory_counts and bool(test.memory.differences) and test.memory_is_open

    def _reason_to_end(self) -> str | None:
        if not self._open():
            return "all tests are decided"
        if len(self.pairs) >= self.limits.max_pairs:
            return "the number of pairs was reached"
        return None

    def _progress(self, phase: str) -> None:
        decided = sum(1 for test in self.tests.values() if test.decided is not None)
        seconds = time.monotonic() - self._started
        self.show(Progress(phase, len(self.pairs), decided, len(self.tests), seconds))

    async def _warm_up(self) -> None:
        """Run both sides once; choose the tests that pass on both, and how often each is called in one process."""
        found = []
        seed = self._seed()
        for side in (self.base, self.head):
            self._progress(f"warm-up of {side.given}")
            result = await self.runs.run(side, RunPlan(seed, calls=WARM_CALLS_COUNT))
            _check_modules(side, result)
            once = await self._once(side, result)
            if ended := once.early_end():
                self.notes.append(f"{side.given} is measured in part: {ended}")
            found.append((result, once))
        self._start = min(result.start_seconds for result, _ in found)
        (base_again, base), (head_again, head) = found
        names = [name for name in base.measures if name in head.measures]
        self._note("only in one side", base.measures.keys() ^ head.measures.keys())
        usable = [name for name in names if base.measures[name].is_usable and head.measures[name].is_usable]
        self._note("did not pass on both sides", set(names).difference(usable))
        if not usable:
            raise InvalidInput(_none_passes((self.base, base_again), (self.head, head_again)))
        for name in usable:
            self.tests[name] = EvidenceOnTest(name)
            again = [each.measures.get(name) for each in (base_again, head_again)]
            self._calls[name] = calls_of([each for each in again if each is not None])
            self._files[name] = os.path.relpath(base.measures[name].file or ".", self.base.folder)

    async def _once(self, side: Side, result: RunResult) -> RunResult:
        """Return a result with those tests called once that have failed when they were called again."""
        if side.command:
            return result
        if result.status not in ENDS_OF_PYTEST:
            return await self.runs.run(side, RunPlan(self._seed()))
        failed = [name for name, measure in result.measures.items() if measure.outcome == "failed"]
        if not failed:
            return result
        again = await self.runs.run(side, RunPlan(self._seed(), dict.fromkeys(failed, 1)))
        return replace(result, measures=result.measures | again.measures)

    def _note(self, what: str, names: Iterable[str]) -> None:
        found = sorted(names)
        if found:
            more = f" and {len(found) - _SHOWN_NAMES_COUNT} more" if len(found) > _SHOWN_NAMES_COUNT else ""
            self.notes.append(f"left out, since they {what}: {', '.join(found[:_SHOWN_NAMES_COUNT])}{more}"
                              if not what.startswith("only") else
                              f"left out, {what}: {', '.join(found[:_SHOWN_NAMES_COUNT])}{more}")  # fmt: skip

    async def _pair(self, base_first: bool, others: measuring_machine.OtherPrograms) -> None:
        """Run both sides with the open tests, and decide what can be decided."""
        self._progress("clock")
        seed, began = self._seed(), time.monotonic()
        tests = self._next_tests()
        plan = self._next_plan(tests, seed)
        results = await (self._alternately(plan, base_first) if self.duet is None else self._at_once(plan, base_first))
        ratios = {}
        for test in tests:
            measures = [results[label].measures.get(test.name) for label in ("a", "b")]
            ratio = self._take(test, measures)
            if ratio is not None:
                ratios[test.name] = round(ratio, _RATIO_DIGITS)
        seconds = time.monotonic() - began
        first: Literal["base", "head"] = "base" if base_first else "head"
        at = max(0.0, began - self._started)
        self.pairs.append(Pair(len(self.pairs) + 1, first, seed, seconds, ratios, others.shares(), at))
        decide(self.tests.values(), self.limits.min_effect)
        # Tests whose instructions were counted before the first pair are decided once it is known whether they wait.
        known = [test for test in tests if len(test.time.differences) == CLOCK_PAIRS_COUNT]
        decide_by_instructions(known, {}, self.limits.min_effect)

    def _next_tests(self) -> list[EvidenceOnTest]:
        """Return the tests of the next pair."""
        tests = self._open()  # capital on times says nothing about memory
        if self.memory_counts:
            return tests
        return chosen(tests, len(self.pairs) // 2, _BLOCKS_OF_ALL_COUNT[self.witness], self._calls, self._start)

    def _next_plan(self, tests: Sequence[EvidenceOnTest], seed: int) -> RunPlan:
        """Return the plan of the next pair."""
        first_pairs = 2 * _BLOCKS_OF_ALL_COUNT[self.witness]
        calls = {test.name: self._calls[test.name] for test in tests}
        seconds = self._start + sum(each.seconds for each in calls.values())
        memory = [test.name for test in tests] if self.memory_counts else with_memory(tests, len(self.pairs), seconds)
        numbers = shared_calls(calls, self._start, first=len(self.pairs) < first_pairs, memory=set(memory))
        return RunPlan(seed, numbers, self._files_of(numbers), memory=memory)

    async def _alternately(self, plan: RunPlan, base_first: bool) -> dict[str, RunResult]:
        """Run one side after the other; return the results by label."""
        results: dict[str, RunResult] = {}
        for label in ("a", "b") if base_first else ("b", "a"):
            if label == "a":
                results[label] = await self.runs.run(self.base, plan)
            else:
                results[label] = await self.runs.run(self.head, replace(plan, slower=self.slower))
        return results

    async def _at_once(self, plan: RunPlan, base_first: bool) -> dict[str, RunResult]:
        """Run both sides at the same time, each on a processor chosen at random; return the results by label."""
        assert self.duet is not None
        first, second = self.duet if base_first else self.duet[::-1]
        loop = asyncio.get_running_loop()
        head_plan = replace(plan, slower=self.slower, processor=second)
        running = [
            loop.create_task(self.runs.run(self.base, replace(plan, processor=first))),
            loop.create_task(self.runs.run(self.head, head_plan)),
        ]
        try:
            base, head = await asyncio.gather(*running)
        finally:
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
        return {"a": base, "b": head}

    def _take(self, test: EvidenceOnTest, measures: Sequence[Measure | None]) -> float | None:
        base, head = measures
        if base is None or head is None or not base.is_usable or not head.is_usable:
            test.failures += 1
            return None
        return test.add(base, head)

    async def _count(self, tests: Sequence[EvidenceOnTest]) -> None:
        """Count the instructions of tests, and decide those that the clock has left open."""
        self._counted = True
        if not self.can_count:
            self.notes.append("instructions were not counted: here are no counters, and no Valgrind for x86-64")
            return
        if not tests:
            return
        first = await self._counts([test.name for test in tests], _COUNTED_CALLS_COUNT, "")
        unsure = [name for name, counts in first.items() if instruction_counts.needs_other_seed(counts)]
        # Clear cases are decided first: the time may be up before the others are counted again.
        judged = {test.name: Instructions("not counted") for test in tests}
        judged |= {name: instruction_counts.judge(counts) for name, counts in first.items()}
        decide_by_instructions(tests, judged, self.limits.min_effect)
        if unsure:
            other = await self._counts(unsure, _CONFIRMING_CALLS_COUNT, " with another hash seed")
            again = {name: instruction_counts.judge(first[name], counts) for name, counts in other.items()}
            decide_by_instructions(tests, again, self.limits.min_effect)

    async def _counts(self, names: Sequence[str], calls: int, remark: str) -> dict[str, instruction_counts.Counts]:
        """Return the instructions of both sides with a new hash seed, for the tests that pass on both.

        A test that may be repeated is called `calls` times in each run.
        """
        if self.runs.by_hardware and not await self._can_count_by_hardware(names):
            self.runs.by_hardware = False
            self.notes.append("the counters of the processor cannot be used here")
            if not has_valgrind():
                return {}
        found, seed = [], self._seed()
        for side, share in zip((self.base, self.head), _COUNTING_SHARES, strict=True):
            if not names:
                return {}
            self._progress(f"instructions of {side.given}{remark}, {counted(len(names), 'test')}")
            seconds = share * max(0.0, self.limits.max_seconds - (time.monotonic() - self._started))
            result = await self.runs.run(side, replace(self._counting_plan(names, seed, calls), seconds=seconds))
            found.append(result.counts)
            if result.status is None:
                self.notes.append(
                    f"in {round(seconds)} s the instructions of {side.given} were counted for {len(result.counts)} of "
                    f"{counted(len(names), 'test')}: raise --max-time, or use --witness clock"
                )
                names = [name for name in names if name in result.counts]
            elif not result.counts:
                last = result.output.splitlines()[-1:] or ["it printed nothing"]
                self.notes.append(f"instructions of {side.given} were not counted: {last[0]}")
        return {name: (found[0][name], found[1][name]) for name in found[0] if name in found[1]}

    async def _can_count_by_hardware(self, names: Sequence[str]) -> bool:
        result = await self.runs.run(self.base, self._counting_plan(names[:1], self._seed(), 1))
        return bool(result.counts)

    def _counting_plan(self, names: Sequence[str], seed: int, most: int) -> RunPlan:
        """Return the plan of a run that counts the instructions of at most `most` calls of each test."""
        calls = {name: min(most, self._calls[name].most) for name in names}
        return RunPlan(seed, calls, self._files_of(names), under_valgrind=True)

    def _files_of(self, names: Iterable[str]) -> list[str]:
        """Return the files of tests as arguments of pytest, or none if it has to collect all."""
        files = list(dict.fromkeys(self._files[name] for name in names)) if self.runs.selects_by_files else []
        return [] if any(character in path for path in files for character in _NODE_ID_SEPARATORS) else files

    def _seed(self) -> int:
        return self.random_order.randint(1, _HIGHEST_SEED)


def _none_passes(*sides: tuple[Side, RunResult]) -> str:
    """Return why nothing can be measured, with the last lines of the first side on which no test passes."""
    side, result = next((each for each in sides if not any(m.is_usable for m in each[1].measures.values())), sides[-1])
    what = "no test passes on both sides"
    if side.command and result.status is not None:
        how = f"with {result.status}" if result.status >= 0 else f"by {signal.Signals(-result.status).name}"
        what = f"the program {side.given} ended {how}, and must end with 0"
    return f"{what}:\n{result.output}" if result.output.strip() else what


def _check_modules(side: Side, result: RunResult) -> None:
    """Refuse a side whose tests import its modules from elsewhere; both would be measured alike."""
    if side.command:
        return
    paths: Mapping[str, str | None] = result.modules
    advice = (
        "run it in a folder without them, or add `-- --import-mode=append`"
        if side.wheel is not None
        else "leave it out of that environment, or install it there in a way that PYTHONPATH comes first"
    )
    for name, path in paths.items():
        if path is not None and not os.path.realpath(path).startswith(f"{os.path.realpath(side.home)}{os.sep}"):
            raise InvalidInput(f"the tests of {side.given} import {name} from {path}, not from {side.home}: {advice}")
