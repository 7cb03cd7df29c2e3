"""The decision: by simulation of whole suites, and rule by rule."""

from __future__ import annotations

import math
import random

from smartmob.experiments.decision import BUSY_SHARE, EvidenceOnTest, decide, decide_by_instructions, overall
from smartmob.experiments.model import Instructions, Measure

_MS = 1_000_000


def _measure(ms: float, *, idle: float = 0.0, queue: float = 0.0, memory: int | None = None) -> Measure:
    own = int(ms * _MS)
    wall = int(own / (1 - queue))
    return Measure("t", "passed", wall=[wall], cpu=[int(own * (1 - idle))], queue=[wall - own], memory=memory)


def _suite(lot: random.Random, changes: list[float], pairs: int, noise: float = 0.1) -> list[EvidenceOnTest]:
    """Return the tests of an experiment in which test n of head takes `changes[n]` times as long."""
    tests = [EvidenceOnTest(f"t{number}") for number in range(len(changes))]
    for _ in range(pairs):
        for test, change in zip(tests, changes, strict=True):
            if test.decided is None:
                test.add(
                    _measure(5 * math.exp(lot.gauss(0, noise))), _measure(5 * change * math.exp(lot.gauss(0, noise)))
                )
        decide(tests, 0.03)
    return tests


def test_an_unchanged_suite_raises_no_alarm() -> None:
    """200 tests of an experiment of 40 pairs, looked at after each pair, have at most one false alarm."""
    found = [test.decided for test in _suite(random.Random(31), [1.0] * 200, 40)]
    assert sum(each in ("slower", "faster") for each in found) <= 1


def test_changes_are_found_among_unchanged_tests() -> None:
    """Ten of 30 tests with 20 % more or less are found with their directions, and no other test."""
    lot = random.Random(32)
    changes = [1.2] * 5 + [1 / 1.2] * 5 + [1.0] * 20
    decided = [test.decided for test in _suite(lot, changes, 60, noise=0.08)]
    assert decided[:5] == ["slower"] * 5
    assert decided[5:10] == ["faster"] * 5
    assert not {"slower", "faster"}.intersection(decided[10:])


def test_a_steady_test_is_the_same() -> None:
    """With a noise of 1 % the interval lies within 3 % soon; a change of 1 % is within it, too."""
    lot = random.Random(33)
    assert [test.decided for test in _suite(lot, [1.0, 1.01], 60, noise=0.01)] == ["same", "same"]


def test_decided_tests_stay_decided() -> None:
    """A pair that comes later changes nothing."""
    test = _suite(random.Random(34), [1.5], 30)[0]
    assert test.decided == "slower"
    before = test.time.evidence
    assert decide([test], 0.03) == []
    assert test.time.evidence == before


def test_pairs_on_a_busy_machine_are_set_aside() -> None:
    """When most pairs are, the test is unfit; the value of such a pair does not count."""
    test = EvidenceOnTest("t")
    for _ in range(8):
        assert test.add(_measure(5), _measure(50, queue=BUSY_SHARE + 0.1)) is None
    verdict = test.verdict()
    assert (verdict.verdict, verdict.pairs, verdict.set_aside) == ("unfit", 0, 8)
    assert "other programs" in verdict.reason
    assert (verdict.ratio, verdict.low, verdict.high) == (None, None, None)


def test_waiting_for_a_processor_does_not_count() -> None:
    """The same test beside another program has the same time."""
    test = EvidenceOnTest("t")
    ratio = test.add(_measure(5), _measure(5, queue=0.4))
    assert ratio is not None
    assert abs(ratio) < 1e-6


def test_instructions_decide_what_the_clock_cannot() -> None:
    """More of them is slower, and equal is the same for a test that computes."""
    tests = [
        EvidenceOnTest(name) for name in ("more", "fewer", "equal", "sleeps", "varies", "not confirmed", "not counted")
    ]
    for test in tests:
        test.add(_measure(5, idle=0.9 if test.name == "sleeps" else 0.0), _measure(5))
    counted = {
        name: Instructions(name if name != "sleeps" else "equal", 1, 1, 1.0, 0.0)  # type: ignore[arg-type]  # literals
        for name in ("more", "fewer", "equal", "sleeps", "varies", "not confirmed", "not counted")
    }
    decided = decide_by_instructions(tests, counted, 0.03)
    assert [test.name for test in decided] == ["more", "fewer", "equal"]
    assert [test.decided for test in tests] == ["slower", "faster", "same", None, None, None, None]
    assert {test.verdict().witness for test in decided} == {"instructions"}
    assert {test.verdict().clock for test in decided} == {"undecided"}


def test_equal_instructions_are_not_the_same_time_where_a_side_waits_longer() -> None:
    """A wait of 9 % of the time that only head has is left to the clock, which says why; one of both sides is not."""
    both, longer, short = EvidenceOnTest("both"), EvidenceOnTest("longer"), EvidenceOnTest("short")
    equal = Instructions("equal", 1, 1, 1.0, 0.0)
    for _ in range(5):
        both.add(_measure(5, idle=0.05), _measure(5, idle=0.051))
        longer.add(_measure(5), _measure(5.5, idle=0.09))
        short.add(_measure(0.01), _measure(0.0105, idle=0.05))  # a difference of half a microsecond
    decided = decide_by_instructions([both, longer, short], dict.fromkeys(("both", "longer", "short"), equal), 0.03)
    assert [test.name for test in decided] == ["both", "short"]
    verdict = longer.verdict()
    assert (verdict.verdict, verdict.reason.partition(":")[0]) == ("undecided", "equal instructions say nothing here")


def test_the_clock_is_not_overruled() -> None:
    """A test that sleeps longer is slower, whatever its instructions say; both are told."""
    test = _suite(random.Random(35), [1.5], 30)[0]
    decide_by_instructions([test], {"t0": Instructions("equal", 5, 5, 1.0, 0.0)}, 0.03)
    verdict = test.verdict()
    assert (verdict.verdict, verdict.witness) == ("slower", "clock")
    assert verdict.instructions is not None
    assert verdict.instructions.verdict == "equal"


def test_a_megabyte_more_is_found() -> None:
    """Memory has a verdict of its own, with its bounds in bytes."""
    lot = random.Random(36)
    test, same = EvidenceOnTest("t"), EvidenceOnTest("u")
    for _ in range(20):
        before = 8_000_000 + lot.randint(-60_000, 60_000)
        test.add(_measure(5, memory=before), _measure(5, memory=9_000_000 + lot.randint(-60_000, 60_000)))
        same.add(_measure(5, memory=before), _measure(5, memory=before + lot.randint(-60_000, 60_000)))
    found, other = test.memory_verdict(), same.memory_verdict()
    assert found is not None
    assert other is not None
    assert found.verdict == "more"
    assert found.low is not None
    assert found.low > 500_000
    assert other.verdict == "same"
    assert EvidenceOnTest("v").memory_verdict() is None


def test_the_verdict_on_all_is_the_one_that_needs_attention() -> None:
    """One slower test makes the experiment slower."""
    lot = random.Random(37)
    verdicts = [test.verdict() for test in _suite(lot, [1.0, 1.5], 30, noise=0.01)]
    assert overall(verdicts) == "slower"
    assert overall(verdicts[:1]) == "same"
    assert overall([]) == "undecided"
