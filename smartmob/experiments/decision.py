"""The decision of an experiment: which tests are slower, faster or the same, after any number of pairs. No I/O.

A test is *slower* or *faster* when both hold: its capital against "no difference" is at least 1,000, so that at most
one unchanged test in 1,000 raises a false alarm, however often it is checked; and it is a discovery among all tests of
the experiment at a false discovery rate of 5 %. The estimate must reach the smallest effect of interest as well. It is
*the same* when the interval of 95 % lies within the smallest effect on both sides. Decided tests are final: their
capital stays as it was at the decision, which keeps the rate for all of them together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from smartmob.counts import counted
from smartmob.experiments.confidence_sequence import ConfidenceSequence
from smartmob.experiments.false_discoveries import discoveries
from smartmob.experiments.model import Deciding, Instructions, Measure, MemoryDifference, Verdict, VerdictOnTest
from smartmob.medians import median

ALARM_EVIDENCE = 1000.0
"""The capital at which a difference counts: one false alarm in 1,000 unchanged tests, by Ville's inequality."""

FALSE_DISCOVERY_RATE = 0.05
"""The share of tests without a change among those reported, on average."""

CONFIDENCE = 0.95
"""The confidence of the intervals, and of "the same"."""

FEWEST_PAIRS_COUNT = 5

BUSY_SHARE = 0.8
"""The share of the time of a call in which it waited for a processor, above which the pair is set aside for its test.
The waiting itself is subtracted from the time, but other programs have also emptied the caches."""

_UNFIT_PAIRS_COUNT = 5  # pairs set aside, at which a test without a verdict is unfit if they are the majority

_MEMORY_NOISE_BYTES = 128 * 1024
"""The spread of a call's memory peak that is assumed at first."""

MEMORY_BYTES = 512 * 1024
"""The smallest difference of memory that counts."""

IDLE_SHARE = 0.1
"""The share of waiting above which equal instruction counts do not mean equal time."""

_WAIT_SHARE = 0.5
"""The share of the smallest effect by which the sides may differ in waiting where equal instructions mean equal time.

The rest of the effect is for the instruction counts, which are equal up to 1 %.
"""

_WAIT_NS = 2_000.0
"""The smallest difference in waiting that counts; reading both clocks takes a part of it."""


class EvidenceOnTest:
    """The evidence on one test: its pairs, and the decisions that follow from them."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.time = ConfidenceSequence()
        self.memory = ConfidenceSequence(_MEMORY_NOISE_BYTES)
        self.clock: Verdict = "undecided"
        self.decided: Verdict | None = None
        self.witness: Deciding = ""
        self.instructions: Instructions | None = None
        self.set_aside = 0
        self.failures = 0
        self.is_left_to_the_clock = False  # its instruction counts are equal, but it waits
        self._cpu: list[float] = []
        self._idle: list[float] = []
        self._longer_waits: list[float] = []  # ns by which head waits longer than base
        self._seconds: tuple[list[float], list[float]] = ([], [])

    def add(self, base: Measure, head: Measure) -> float | None:
        """Add the measures of a pair; return its log-ratio, or None when the pair is set aside."""
        if max(base.queue_share, head.queue_share) > BUSY_SHARE:
            self.set_aside += 1
            return None
        ratio = math.log(head.own_ns / base.own_ns)
        self.time.add(ratio)
        self._cpu.append(math.log(head.cpu_ns / base.cpu_ns))
        self._idle.append(max(base.idle_share, head.idle_share))
        self._longer_waits.append((head.own_ns - head.cpu_ns) - (base.own_ns - base.cpu_ns))
        for seconds, measure in zip(self._seconds, (base, head), strict=True):
            seconds.append(measure.own_ns / 1e9)
        if base.memory is not None and head.memory is not None:
            self.memory.add(head.memory - base.memory)
        return ratio

    def waits(self, min_effect: float) -> bool:
        """Return whether the test waits so much, or so differently, that instruction counts do not tell its time."""
        if not self._idle:
            return True
        limit = max(_WAIT_NS, _WAIT_SHARE * min_effect * median(self._seconds[0]) * 1e9)
        return median(self._idle) > IDLE_SHARE or abs(median(self._longer_waits)) > limit

    def verdict(self, confidence: float = CONFIDENCE) -> VerdictOnTest:
        """Return the present verdict."""
        found: Verdict = self.decided or "undecided"
        reason = f"it failed in {counted(self.failures, 'pair')}" if self.failures else ""
        pairs = len(self.time.differences)
        if self.decided is None and self.set_aside >= _UNFIT_PAIRS_COUNT and self.set_aside > pairs:
            found, reason = "unfit", "other programs took the processor"
        if self.decided is None and not reason and self.is_left_to_the_clock and pairs:
            reason = "equal instructions say nothing here: it waits for something else than a processor"
        low, high = self.time.interval(confidence)
        return VerdictOnTest(
            name=self.name,
            verdict=found,
            witness=self.witness,
            clock=self.clock,
            ratio=math.exp(self.time.estimate()) if pairs else None,
            low=_exponential(low),
            high=_exponential(high),
            cpu_ratio=math.exp(median(self._cpu)) if pairs else None,
            pairs=pairs,
            set_aside=self.set_aside,
            base_seconds=median(self._seconds[0]) if pairs else None,
            head_seconds=median(self._seconds[1]) if pairs else None,
            instructions=self.instructions,
            memory=self.memory_verdict(),
            reason=reason,
        )

    @property
    def memory_is_open(self) -> bool:
        """Return whether more pairs can change the verdict on the memory."""
        if self.memory.evidence >= ALARM_EVIDENCE and abs(self.memory.estimate()) >= MEMORY_BYTES:
            return False
        return not all(self.memory.excludes(side * -MEMORY_BYTES, side, (1 + CONFIDENCE) / 2) for side in (1, -1))

    def memory_verdict(self) -> MemoryDifference | None:
        """Return the verdict on the memory, or None if no memory was measured."""
        if not self.memory.differences:
            return None
        difference = self.memory.estimate()
        low, high = self.memory.interval(CONFIDENCE)
        finite = (low if math.isfinite(low) else None, high if math.isfinite(high) else None)
        if self.memory.evidence >= ALARM_EVIDENCE and abs(difference) >= MEMORY_BYTES:
            return MemoryDifference("more" if difference > 0 else "less", difference, *finite)
        is_same = low > -MEMORY_BYTES and high < MEMORY_BYTES
        return MemoryDifference("same" if is_same else "undecided", difference, *finite)


def decide(tests: Iterable[EvidenceOnTest], min_effect: float) -> list[EvidenceOnTest]:
    """Decide the tests that the clock can decide by now, and return those that this call has decided."""
    every = list(tests)
    found = discoveries([each.time.evidence for each in every], FALSE_DISCOVERY_RATE)
    limit = math.log1p(min_effect)
    fresh = []
    for index, test in enumerate(every):
        if test.decided is not None or len(test.time.differences) < FEWEST_PAIRS_COUNT:
            continue
        if index in found and test.time.evidence >= ALARM_EVIDENCE and abs(test.time.estimate()) >= limit:
            test.clock = "slower" if test.time.direction > 0 else "faster"
        elif test.time.excludes(-limit, 1, CONFIDENCE) and test.time.excludes(limit, -1, CONFIDENCE):
            test.clock = "same"
        if test.clock != "undecided":
            test.decided, test.witness = test.clock, "clock"
            fresh.append(test)
    return fresh


def decide_by_instructions(
    tests: Iterable[EvidenceOnTest], counted: Mapping[str, Instructions], min_effect: float
) -> list[EvidenceOnTest]:
    """Add instruction counts to the tests; decide those that the clock has not decided, and return them.

    Equal counts decide only a test that computes: a test that sleeps longer does not execute more instructions.
    """
    fresh = []
    for test in tests:
        test.instructions = counted.get(test.name, test.instructions)
        if test.decided is not None or test.instructions is None:
            continue
        found = test.instructions.verdict
        if found in ("more", "fewer"):
            test.decided = "slower" if found == "more" else "faster"
        elif found == "equal":
            test.is_left_to_the_clock = test.waits(min_effect)
            test.decided = None if test.is_left_to_the_clock else "same"
        if test.decided is not None:
            test.witness = "instructions"
            fresh.append(test)
    return fresh


def overall(verdicts: Iterable[VerdictOnTest]) -> Verdict:
    """Return the verdict on the experiment: that of the test that needs most attention."""
    found = {each.verdict for each in verdicts}
    order: tuple[Verdict, ...] = ("slower", "unfit", "undecided", "faster", "same")
    return next((each for each in order if each in found), "undecided")


def _exponential(value: float) -> float | None:
    return math.exp(value) if math.isfinite(value) else None
