"""The rule of comparisons: what departs, what is confirmed, and what a thousand simulated tests make of it."""

from __future__ import annotations

import math
import random
from collections.abc import Mapping, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import verdicts as simulation
from smartmob.metrics.verdict.change_detection import (
    MIN_HISTORY,
    SCALES,
    Change,
    DetectedChanges,
    ItemName,
    Limits,
    RunHistory,
    Values,
    detect_changes,
)

TIME = SCALES["total_time"]
USUAL = Limits()


def name(text: str) -> ItemName:
    """Return the name of a test."""
    return ("suite", text, text, "function")


SUBJECT = name("subject")


def occasion(subject: float | None, seed: int, shift: float = 1.0, others: int = 20, noise: float = 0.01) -> Values:
    """Return what a test took beside others of 100 ms that vary by `noise`."""
    source = random.Random(seed)
    values = {name(f"other_{n}"): 0.1 * shift * math.exp(source.gauss(0.0, noise)) for n in range(others)}
    if subject is not None:
        values[SUBJECT] = subject * shift * math.exp(source.gauss(0.0, noise) if subject else 0.0)
    return values


def history(subject: float | None = 0.1, number: int = 10, **options: float) -> list[Values]:
    """Return earlier occasions."""
    return [occasion(subject, seed, **options) for seed in range(number)]  # type: ignore[arg-type]  # others is whole


def found(timeline: RunHistory, limits: Limits = USUAL, resource: str = "total_time") -> Change:
    """Return what the rule says of the subject."""
    return detect_changes(timeline, SCALES[resource], limits).changes[SUBJECT]


def said(change: Change) -> tuple[int, bool | None]:
    """Return the direction of a change and whether it is confirmed."""
    return change.direction, change.confirmed


class TestSuspicion:
    """First a suspicion, then another occasion."""

    def test_nothing(self) -> None:
        """What moves as it always did is noise."""
        change = found(RunHistory(history(), [occasion(0.1, 99)]))
        assert said(change) == (0, None)
        assert change.history == 10
        assert change.corrected_ratio == pytest.approx(1.0, abs=0.05)

    @pytest.mark.parametrize(("factor", "direction"), [(1.5, 1), (0.6, -1)])
    def test_the_first_time(self, factor: float, direction: int) -> None:
        """A departure that nothing confirms is told as such."""
        change = found(RunHistory(history(), [occasion(0.1 * factor, 99)]))
        assert said(change) == (direction, None)
        assert change.corrected_ratio == pytest.approx(factor, rel=0.05)

    @pytest.mark.parametrize(("after", "confirmed"), [(0.15, True), (0.1, False), (0.05, False)])
    def test_the_next_occasion(self, after: float, confirmed: bool) -> None:
        """It confirms what departs in the same direction, and clears the rest."""
        timeline = RunHistory(history(), [occasion(0.15, 99)], after=occasion(after, 100))
        assert said(found(timeline)) == (1, confirmed)

    def test_the_occasion_before(self) -> None:
        """Without a base, the last of the history is what the head confirms."""
        assert said(found(RunHistory([*history(), occasion(0.15, 98)], [occasion(0.15, 99)]))) == (1, True)

    def test_the_occasion_before_was_an_outlier(self) -> None:
        """The other way round it confirms nothing."""
        assert said(found(RunHistory([*history(), occasion(0.05, 98)], [occasion(0.15, 99)]))) == (1, None)

    def test_the_history_begins_again(self) -> None:
        """What was confirmed is told once: after it the new level is the usual one."""
        past = [*history(), *(occasion(0.15, seed) for seed in range(50, 53))]
        change = found(RunHistory(past, [occasion(0.15, 99)]))
        assert said(change) == (0, None)
        assert change.level == pytest.approx(0.15, rel=0.05)
        assert said(found(RunHistory(past, [occasion(0.1, 99)], after=occasion(0.1, 100)))) == (-1, True)

    def test_a_test_that_the_next_occasion_lacks(self) -> None:
        """It stays suspect."""
        assert said(found(RunHistory(history(), [occasion(0.15, 99)], after=occasion(None, 100)))) == (1, None)


class TestBase:
    """A base that was asked for by name."""

    def test_between(self) -> None:
        """What lies between the base and the head confirms the head."""
        timeline = RunHistory(history(), [occasion(0.15, 99)], base=1, between=occasion(0.15, 98))
        assert said(found(timeline)) == (1, True)

    def test_a_base_that_was_slower_already(self) -> None:
        """Against a base that departed as the head does, nothing has changed."""
        timeline = RunHistory([*history(), occasion(0.15, 98)], [occasion(0.15, 99)], base=1)
        change = found(timeline)
        assert said(change) == (0, None)
        assert change.level == pytest.approx(0.15, rel=0.05)

    def test_a_base_that_was_an_outlier(self) -> None:
        """A base that departed alone counts as noise of the history."""
        timeline = RunHistory([*history(), occasion(0.15, 98)], [occasion(0.1, 99)], base=1)
        assert said(found(timeline)) == (0, None)

    def test_values_are_those_of_the_sides(self) -> None:
        """What was measured is told as it is, in the middle of several."""
        past = [*history(), occasion(0.2, 97, noise=0.0), occasion(0.4, 98, noise=0.0)]
        change = found(RunHistory(past, [occasion(0.6, 99, noise=0.0)], base=2))
        assert (change.base, change.head, change.ratio) == (pytest.approx(0.3), pytest.approx(0.6), pytest.approx(2.0))

    def test_new_and_gone(self) -> None:
        """Tests that one side lacks are told apart."""
        judged = detect_changes(RunHistory(history(None), [occasion(0.1, 99, others=19)], base=1), TIME, Limits())
        assert list(judged.new) == [SUBJECT]
        assert list(judged.gone) == [name("other_19")]

    def test_a_test_that_only_the_base_lacks(self) -> None:
        """It is judged by its history."""
        change = found(RunHistory([*history(), occasion(None, 98)], [occasion(0.15, 99)], base=1))
        assert said(change) == (1, None)
        assert change.base is None
        assert change.ratio == pytest.approx(1.5, rel=0.05)


class TestSeveralHeads:
    """A commit that ran more than once."""

    @pytest.mark.parametrize(
        ("values", "expected"),
        [
            ([0.15, 0.15], (1, True)),
            ([0.15, 0.1], (0, None)),
            ([0.1, 0.15], (1, None)),
            ([0.15, 0.1, 0.15], (1, True)),
            ([0.1, 0.1, 0.15], (1, None)),
            ([0.06, 0.06, 0.1], (-1, True)),
        ],
    )
    def test_most_of_them(self, values: Sequence[float], expected: tuple[int, bool | None]) -> None:
        """Most have to depart and two at least; the last alone is suspect."""
        heads = [occasion(value, 90 + number) for number, value in enumerate(values)]
        assert said(found(RunHistory(history(), heads, base=1))) == expected


class TestShift:
    """What moves all tests together."""

    def test_a_slow_machine(self) -> None:
        """It is told by itself, and no test is blamed."""
        judged = detect_changes(RunHistory(history(), [occasion(0.1, 99, shift=1.4)]), TIME, Limits())
        assert judged.shift.ratio == pytest.approx(1.4, rel=0.02)
        assert judged.shift.notable
        assert {change.direction for change in judged.changes.values()} == {0}

    def test_a_change_on_a_slow_machine(self) -> None:
        """It is seen all the same, by its own size."""
        change = found(RunHistory(history(), [occasion(0.15, 99, shift=1.4)]))
        assert change.direction == 1
        assert change.corrected_ratio == pytest.approx(1.5, rel=0.05)
        assert change.ratio == pytest.approx(2.1, rel=0.05)

    def test_a_test_that_only_waits(self) -> None:
        """What does not feel a slow machine does not seem faster when the others' shift is removed."""
        head = {**occasion(0.1, 99, shift=1.4), SUBJECT: 0.1}
        assert said(found(RunHistory(history(), [head]))) == (0, None)

    def test_a_steady_machine(self) -> None:
        """A shift that is as usual is nothing special."""
        shift = detect_changes(RunHistory(history(), [occasion(0.1, 99)]), TIME, Limits()).shift
        assert not shift.notable
        assert shift.usual == pytest.approx(1.0, abs=0.02)

    def test_a_machine_that_always_varies(self) -> None:
        """The same shift on a machine that is never steady is nothing special either."""
        past = [occasion(0.1, seed, shift=1.0 + 0.3 * (seed % 3)) for seed in range(12)]
        assert not detect_changes(RunHistory(past, [occasion(0.1, 99, shift=1.4)]), TIME, Limits()).shift.notable

    def test_too_few_tests(self) -> None:
        """With four tests a slow machine cannot be told from slow tests, and nothing is removed."""
        past = history(others=3)
        judged = detect_changes(RunHistory(past, [occasion(0.15, 99, others=3)]), TIME, Limits())
        assert (judged.shift.ratio, judged.shift.tests) == (None, 4)
        assert said(judged.changes[SUBJECT]) == (1, None)

    def test_one_test_that_outweighs_all(self) -> None:
        """A test of an hour among many of 100 ms moves nothing but itself."""
        judged = detect_changes(RunHistory(history(3600.0), [occasion(7200.0, 99)]), TIME, Limits())
        assert judged.shift.ratio == pytest.approx(1.0, abs=0.02)
        assert {key for key, change in judged.changes.items() if change.direction} == {SUBJECT}


class TestSizes:
    """What is large enough to matter."""

    def test_a_small_effect(self) -> None:
        """A change below the least effect is noise, however steady the test is."""
        past = history(noise=0.0)
        assert found(RunHistory(past, [occasion(0.104, 99, noise=0.0)])).direction == 0
        assert found(RunHistory(past, [occasion(0.104, 99, noise=0.0)]), Limits(0.02)).direction == 1

    def test_a_tiny_test(self) -> None:
        """A factor of three of 100 µs is no second of anybody's time."""
        assert found(RunHistory(history(0.0001), [occasion(0.0003, 99)])).direction == 0
        assert found(RunHistory(history(0.0001), [occasion(0.0003, 99)]), Limits(0.05, 0.0001)).direction == 1

    @pytest.mark.parametrize("past", [0.0, 0.1])
    def test_a_spread_of_zero(self, past: float) -> None:
        """A history of equal values, zeros among them, is no reason to take a hair for a change."""
        same = [dict.fromkeys(occasion(0.1, 1), past) for _ in range(10)]
        head: dict[ItemName, float] = {**same[0], SUBJECT: past + 0.0004}
        assert found(RunHistory(same, [head])).direction == 0
        assert found(RunHistory(same, [{**head, SUBJECT: past + 0.05}])).direction == 1

    def test_a_coarse_clock(self) -> None:
        """Zeros with now and then one tick of a clock are as usual."""
        past = [{**occasion(None, seed), SUBJECT: 0.0156 if seed % 5 == 0 else 0.0} for seed in range(20)]
        assert found(RunHistory(past, [{**occasion(None, 99), SUBJECT: 0.0156}])).direction == 0

    def test_a_noisy_test(self) -> None:
        """Its own noise is the measure: 30 % are nothing where 20 % are usual."""
        past = [{**occasion(None, s), SUBJECT: 0.1 * math.exp(random.Random(s).gauss(0.0, 0.2))} for s in range(20)]
        assert found(RunHistory(past, [{**occasion(None, 99), SUBJECT: 0.13}])).direction == 0

    def test_one_outlier_does_not_blind(self) -> None:
        """A single odd value in the history hides no change."""
        past = [*history(number=5), occasion(1.0, 50), *history(number=5)]
        assert found(RunHistory(past, [occasion(0.15, 99)])).direction == 1


class TestLittleHistory:
    """A base and a head, and nothing else."""

    def test_two_occasions(self) -> None:
        """The tests together tell what is usual."""
        change = found(RunHistory([occasion(0.1, 1)], [occasion(0.2, 2)], base=1))
        assert said(change) == (1, None)
        assert change.history == 1
        assert change.noise is not None

    def test_two_occasions_of_few_tests(self) -> None:
        """Neither history nor others: nothing can be told."""
        change = found(RunHistory([occasion(0.1, 1, others=2)], [occasion(0.2, 2, others=2)], base=1))
        assert (change.direction, change.noise) == (0, None)

    def test_one_test_with_a_history(self) -> None:
        """A test alone is judged by its own noise."""
        assert said(found(RunHistory(history(others=0), [occasion(0.15, 99, others=0)]))) == (1, None)
        short = found(RunHistory(history(others=0, number=MIN_HISTORY - 1), [occasion(0.15, 99, others=0)]))
        assert (short.direction, short.noise) == (0, None)


class TestResources:
    """What is no time."""

    def test_memory_may_be_negative(self) -> None:
        """The plugin subtracts a baseline; a growth from below zero is seen, and has no ratio."""
        past = [{name(f"t{n}"): -0.5 + 0.01 * ((n + s) % 3) for n in range(8)} for s in range(10)]
        head = {**past[0], name("t0"): 30.0}
        judged = detect_changes(RunHistory(past, [head]), SCALES["mem_usage"], Limits(0.05, 1.0))
        change = judged.changes[name("t0")]
        assert (change.direction, change.ratio, change.corrected_ratio) == (1, None, None)
        assert judged.shift.ratio is None
        assert {key for key, other in judged.changes.items() if other.direction} == {name("t0")}

    def test_memory_has_no_shift(self) -> None:
        """What all tests need more is a change of each."""
        past = [{name(f"t{n}"): 10.0 + n for n in range(8)} for _ in range(10)]
        head = {key: value + 20.0 for key, value in past[0].items()}
        changes = detect_changes(RunHistory(past, [head]), SCALES["mem_usage"], Limits(0.05, 1.0)).changes
        assert {change.direction for change in changes.values()} == {1}

    @given(st.floats(allow_nan=False, allow_infinity=False), st.sampled_from(sorted(SCALES)))
    def test_a_scale_is_undone(self, value: float, resource: str) -> None:
        """What was put on a scale comes back, within its bounds."""
        scale = SCALES[resource]
        bounded = max(-1e15, min(value, 1e15))
        assert scale.from_log(scale.to_log(value)) == pytest.approx(bounded, rel=1e-9, abs=1e-9)

    @given(
        st.lists(
            st.dictionaries(
                st.sampled_from([name(f"t{n}") for n in range(7)]), st.floats(allow_nan=False, allow_infinity=False)
            ),
            min_size=1,
            max_size=9,
        ),
        st.sampled_from(sorted(SCALES)),
        st.booleans(),
    )
    def test_whatever_was_sent(self, occasions: list[Mapping[ItemName, float]], resource: str, based: bool) -> None:
        """Any numbers on any occasions get an answer of finite numbers, with every test of both sides in it once."""
        timeline = RunHistory(occasions[:-1], occasions[-1:], base=int(based and len(occasions) > 1))
        judged = detect_changes(timeline, SCALES[resource], Limits())
        assert set(judged.changes) | set(judged.new) == set(occasions[-1])
        assert not set(judged.changes) & set(judged.new)
        for change in judged.changes.values():
            told = (change.level, change.corrected, change.noise or 0.0)
            assert all(math.isfinite(number) for number in told)


class TestSimulation:
    """A thousand tests with known changes, on a machine that is as bad as real ones."""

    def test_false_alarms_and_hits(self) -> None:
        """Simple rules raise dozens of false alarms in a session; this one few, and finds most of what is large."""
        suites, rules = 6, simulation.RULES
        sums = simulation.simulate(rules, suites, 30)
        false = {rule: sums[rule]["confirmed false"] / suites for rule in rules}
        first = {rule: sums[rule]["first false"] / suites for rule in rules}
        assert false["smartmob"] <= 3.0
        others = [rule for rule in rules if rule != "smartmob"]
        assert all(first[rule] >= 20.0 for rule in others), first
        found = {
            size: sums["smartmob"][f"confirmed {size:.0%}"] / suites / simulation.EACH for size in simulation.SIZES
        }
        assert found[0.5] >= 0.8
        assert found[0.2] >= 0.35
        assert found[0.1] <= found[0.2] <= found[0.5]

    def test_without_a_history(self) -> None:
        """Two sessions alone still find what is large, at the price of more alarms than with a history."""
        sums = simulation.simulate({"smartmob": simulation.ours}, 6, 2)["smartmob"]
        assert sums["confirmed false"] / 6 <= 4.0
        assert sums["confirmed 50%"] / 6 / simulation.EACH >= 0.4


def test_what_is_judged() -> None:
    """A judgement without a head is empty."""
    judged: DetectedChanges = detect_changes(RunHistory(history(), []), TIME, Limits())
    assert (judged.changes, judged.new) == ({}, {})
