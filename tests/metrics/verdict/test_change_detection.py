"""The change detection: deviations, confirmations, shifts, and a simulation of a thousand tests."""

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
    ChangeLimits,
    DetectedChange,
    DetectedChanges,
    ItemName,
    RunHistory,
    Values,
    detect_changes,
)
from smartmob.metrics.verdict.scales import SCALES

TIME = SCALES["total_time"]
USUAL = ChangeLimits()


def name(text: str) -> ItemName:
    """Return the name of a test."""
    return ("suite", text, text, "function")


SUBJECT = name("subject")


def run(subject: float | None, seed: int, shift: float = 1.0, others: int = 20, noise: float = 0.01) -> Values:
    """Return the values of a run: the subject, and other tests of 100 ms that vary by `noise`."""
    source = random.Random(seed)
    values = {name(f"other_{n}"): 0.1 * shift * math.exp(source.gauss(0.0, noise)) for n in range(others)}
    if subject is not None:
        values[SUBJECT] = subject * shift * math.exp(source.gauss(0.0, noise) if subject else 0.0)
    return values


def history(subject: float | None = 0.1, number: int = 10, **options: float) -> list[Values]:
    """Return earlier runs."""
    return [run(subject, seed, **options) for seed in range(number)]  # type: ignore[arg-type]  # others is whole


def change_of(runs: RunHistory, limits: ChangeLimits = USUAL, resource: str = "total_time") -> DetectedChange:
    """Return the change of the subject."""
    return detect_changes(runs, SCALES[resource], limits).changes[SUBJECT]


def outcome(change: DetectedChange) -> tuple[int, bool | None]:
    """Return the direction of a change and whether it is confirmed."""
    return change.direction, change.confirmed


class TestSuspicion:
    """A first deviation is a suspicion, which another run confirms or clears."""

    def test_usual_variation_is_no_change(self) -> None:
        """A value within the usual variation has no direction."""
        change = change_of(RunHistory(history(), [run(0.1, 99)]))
        assert outcome(change) == (0, None)
        assert change.history == 10
        assert change.corrected_ratio == pytest.approx(1.0, abs=0.05)

    @pytest.mark.parametrize(("factor", "direction"), [(1.5, 1), (0.6, -1)])
    def test_a_first_deviation_is_unconfirmed(self, factor: float, direction: int) -> None:
        """A deviation without a later run is neither confirmed nor cleared."""
        change = change_of(RunHistory(history(), [run(0.1 * factor, 99)]))
        assert outcome(change) == (direction, None)
        assert change.corrected_ratio == pytest.approx(factor, rel=0.05)

    @pytest.mark.parametrize(("after", "confirmed"), [(0.15, True), (0.1, False), (0.05, False)])
    def test_the_next_run_confirms_or_clears_a_deviation(self, after: float, confirmed: bool) -> None:
        """A deviation in the same direction confirms; any other value clears."""
        past_runs = RunHistory(history(), [run(0.15, 99)], after=run(after, 100))
        assert outcome(change_of(past_runs)) == (1, confirmed)

    def test_the_run_before_confirms_a_deviation(self) -> None:
        """Without a base, the last run of the history can confirm the head."""
        assert outcome(change_of(RunHistory([*history(), run(0.15, 98)], [run(0.15, 99)]))) == (1, True)

    def test_the_run_before_in_the_other_direction_confirms_nothing(self) -> None:
        """A deviation in the other direction is no confirmation."""
        assert outcome(change_of(RunHistory([*history(), run(0.05, 98)], [run(0.15, 99)]))) == (1, None)

    def test_the_history_restarts_after_a_confirmed_change(self) -> None:
        """A confirmed change is reported once; after it the new level is the usual one."""
        past = [*history(), *(run(0.15, seed) for seed in range(50, 53))]
        change = change_of(RunHistory(past, [run(0.15, 99)]))
        assert outcome(change) == (0, None)
        assert change.level == pytest.approx(0.15, rel=0.05)
        assert outcome(change_of(RunHistory(past, [run(0.1, 99)], after=run(0.1, 100)))) == (-1, True)

    def test_a_test_is_still_slower_until_it_is_as_fast_as_before(self) -> None:
        """The run of the change is told as long as the head is slower than before it, and no longer."""
        names = [f"c{number}" for number in range(13)]
        past = [*history(), *(run(0.15, seed) for seed in range(50, 53))]
        assert change_of(RunHistory(past, [run(0.15, 99)], names=names)).since == "c10"
        assert change_of(RunHistory(past, [run(0.1, 99)], names=names)).since is None
        assert change_of(RunHistory(history(), [run(0.1, 99)], names=names[:10])).since is None
        back = [*past, *(run(0.1, seed) for seed in range(60, 63))]
        assert change_of(RunHistory(back, [run(0.1, 99)], names=[*names, "d", "e", "f"])).since is None
        partly = [*past, *(run(0.12, seed) for seed in range(60, 63))]
        assert change_of(RunHistory(partly, [run(0.12, 99)], names=[*names, "d", "e", "f"])).since == "c10"

    def test_a_slow_base_is_the_commit_since_which_a_test_is_slower(self) -> None:
        """A base that deviated from the runs before it, and that the head is like, is the beginning."""
        runs = RunHistory([*history(), run(0.15, 98)], [run(0.15, 99)], base=1, names=[*"abcdefghij", "base"])
        assert (outcome(change_of(runs)), change_of(runs).since) == ((0, None), "base")

    def test_a_deviation_stays_unconfirmed_if_the_next_run_lacks_the_test(self) -> None:
        """A later run without the test neither confirms nor clears."""
        assert outcome(change_of(RunHistory(history(), [run(0.15, 99)], after=run(None, 100)))) == (1, None)


class TestBase:
    """A base that the request names."""

    def test_a_run_between_base_and_head_confirms(self) -> None:
        """A run between the base and the head that deviates too confirms the head."""
        past_runs = RunHistory(history(), [run(0.15, 99)], base=1, between=run(0.15, 98))
        assert outcome(change_of(past_runs)) == (1, True)

    def test_a_base_with_the_level_of_the_head_is_no_change(self) -> None:
        """If the base deviated in the same way as the head, nothing changed between them."""
        past_runs = RunHistory([*history(), run(0.15, 98)], [run(0.15, 99)], base=1)
        change = change_of(past_runs)
        assert outcome(change) == (0, None)
        assert change.level == pytest.approx(0.15, rel=0.05)

    def test_an_outlier_as_base_counts_as_noise(self) -> None:
        """A base that deviates alone is part of the noise of the history."""
        past_runs = RunHistory([*history(), run(0.15, 98)], [run(0.1, 99)], base=1)
        assert outcome(change_of(past_runs)) == (0, None)

    def test_values_of_several_bases_are_their_median(self) -> None:
        """The values in the result are as measured, and the median of several runs."""
        past = [*history(), run(0.2, 97, noise=0.0), run(0.4, 98, noise=0.0)]
        change = change_of(RunHistory(past, [run(0.6, 99, noise=0.0)], base=2))
        assert (change.base, change.head, change.ratio) == (pytest.approx(0.3), pytest.approx(0.6), pytest.approx(2.0))

    def test_tests_on_one_side_are_new_or_gone(self) -> None:
        """Tests that one side lacks are listed as new or gone."""
        detected = detect_changes(RunHistory(history(None), [run(0.1, 99, others=19)], base=1), TIME, ChangeLimits())
        assert list(detected.new) == [SUBJECT]
        assert list(detected.gone) == [name("other_19")]

    def test_a_test_that_the_base_lacks_is_compared_with_its_history(self) -> None:
        """The ratio then refers to the level."""
        change = change_of(RunHistory([*history(), run(None, 98)], [run(0.15, 99)], base=1))
        assert outcome(change) == (1, None)
        assert change.base is None
        assert change.ratio == pytest.approx(1.5, rel=0.05)


class TestSeveralHeads:
    """A head with several runs of one commit."""

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
    def test_more_than_half_of_the_heads_have_to_deviate(
        self, values: Sequence[float], expected: tuple[int, bool | None]
    ) -> None:
        """More than half and at least two have to deviate; the last one alone is suspect."""
        heads = [run(value, 90 + number) for number, value in enumerate(values)]
        assert outcome(change_of(RunHistory(history(), heads, base=1))) == expected


class TestShift:
    """Shifts, which move all tests together."""

    def test_a_shift_is_reported_and_no_test_is_blamed(self) -> None:
        """A slow machine is a finding of its own, and no test changes."""
        detected = detect_changes(RunHistory(history(), [run(0.1, 99, shift=1.4)]), TIME, ChangeLimits())
        assert detected.shift.ratio == pytest.approx(1.4, rel=0.02)
        assert detected.shift.notable
        assert {change.direction for change in detected.changes.values()} == {0}

    def test_a_change_is_found_beside_a_shift(self) -> None:
        """The size of a change on a slow machine is that without the shift."""
        change = change_of(RunHistory(history(), [run(0.15, 99, shift=1.4)]))
        assert change.direction == 1
        assert change.corrected_ratio == pytest.approx(1.5, rel=0.05)
        assert change.ratio == pytest.approx(2.1, rel=0.05)

    def test_a_test_that_the_shift_does_not_affect_is_no_improvement(self) -> None:
        """A test that a slow machine does not affect must not seem faster when the shift is removed."""
        head = {**run(0.1, 99, shift=1.4), SUBJECT: 0.1}
        assert outcome(change_of(RunHistory(history(), [head]))) == (0, None)

    def test_a_usual_shift_is_not_notable(self) -> None:
        """A shift within its usual variation is not notable."""
        shift = detect_changes(RunHistory(history(), [run(0.1, 99)]), TIME, ChangeLimits()).shift
        assert not shift.notable
        assert shift.usual == pytest.approx(1.0, abs=0.02)

    def test_a_shift_on_an_unsteady_machine_is_not_notable(self) -> None:
        """The same shift on a machine that always varies is not notable."""
        past = [run(0.1, seed, shift=1.0 + 0.3 * (seed % 3)) for seed in range(12)]
        assert not detect_changes(RunHistory(past, [run(0.1, 99, shift=1.4)]), TIME, ChangeLimits()).shift.notable

    def test_too_few_tests_have_no_shift(self) -> None:
        """With four tests a slow machine cannot be distinguished from slow tests, and nothing is removed."""
        past = history(others=3)
        detected = detect_changes(RunHistory(past, [run(0.15, 99, others=3)]), TIME, ChangeLimits())
        assert (detected.shift.ratio, detected.shift.tests) == (None, 4)
        assert outcome(detected.changes[SUBJECT]) == (1, None)

    def test_one_long_test_does_not_make_a_shift(self) -> None:
        """A test of an hour among many of 100 ms changes nothing but itself."""
        detected = detect_changes(RunHistory(history(3600.0), [run(7200.0, 99)]), TIME, ChangeLimits())
        assert detected.shift.ratio == pytest.approx(1.0, abs=0.02)
        assert {key for key, change in detected.changes.items() if change.direction} == {SUBJECT}


class TestSizes:
    """The size of a change, and its limits."""

    def test_a_change_below_the_least_effect_is_noise(self) -> None:
        """A change below the least effect is noise, however steady the test is."""
        past = history(noise=0.0)
        assert change_of(RunHistory(past, [run(0.104, 99, noise=0.0)])).direction == 0
        assert change_of(RunHistory(past, [run(0.104, 99, noise=0.0)]), ChangeLimits(0.02)).direction == 1

    def test_a_change_below_the_least_time_is_noise(self) -> None:
        """A factor of three is noise if it is less than the least change in seconds."""
        assert change_of(RunHistory(history(0.0001), [run(0.0003, 99)])).direction == 0
        assert change_of(RunHistory(history(0.0001), [run(0.0003, 99)]), ChangeLimits(0.05, 0.0001)).direction == 1

    @pytest.mark.parametrize(("resource", "level"), [("total_time", 12.5e-9), ("mem_usage", 16e-6)])
    def test_a_benchmark_has_no_least_change(self, resource: str, level: float) -> None:
        """Its value is the average of many iterations, so a change of nanoseconds or bytes that is no noise counts."""
        benchmark = ("suite", "subject", "subject", "benchmark")
        past = [{benchmark: level * (1 + 0.01 * (seed % 3))} for seed in range(10)]

        def direction(value: float, limits: ChangeLimits = USUAL) -> int:
            return (
                detect_changes(RunHistory(past, [{benchmark: value}]), SCALES[resource], limits)
                .changes[benchmark]
                .direction
            )

        assert [direction(factor * level) for factor in (0.5, 1.02, 1.2, 2.0)] == [-1, 0, 1, 1]
        assert direction(2 * level, ChangeLimits(change=level * 1.5)) == 0

    @pytest.mark.parametrize("past", [0.0, 0.1])
    def test_a_history_of_equal_values_has_a_least_noise(self, past: float) -> None:
        """After equal values, zeros among them, a tiny difference is no change."""
        same = [dict.fromkeys(run(0.1, 1), past) for _ in range(10)]
        head: dict[ItemName, float] = {**same[0], SUBJECT: past + 0.0004}
        assert change_of(RunHistory(same, [head])).direction == 0
        assert change_of(RunHistory(same, [{**head, SUBJECT: past + 0.05}])).direction == 1

    def test_rare_ticks_of_a_coarse_clock_are_noise(self) -> None:
        """Zeros with a tick of the clock now and then are the usual variation."""
        past = [{**run(None, seed), SUBJECT: 0.0156 if seed % 5 == 0 else 0.0} for seed in range(20)]
        assert change_of(RunHistory(past, [{**run(None, 99), SUBJECT: 0.0156}])).direction == 0

    def test_the_noise_of_a_test_sets_its_limit(self) -> None:
        """A change by 30 % is noise in a test that varies by 20 %."""
        past = [{**run(None, s), SUBJECT: 0.1 * math.exp(random.Random(s).gauss(0.0, 0.2))} for s in range(20)]
        assert change_of(RunHistory(past, [{**run(None, 99), SUBJECT: 0.13}])).direction == 0

    def test_an_outlier_in_the_history_hides_no_change(self) -> None:
        """A single outlier in the history does not widen the noise."""
        past = [*history(number=5), run(1.0, 50), *history(number=5)]
        assert change_of(RunHistory(past, [run(0.15, 99)])).direction == 1


class TestLittleHistory:
    """Short histories."""

    def test_two_runs_use_the_noise_of_all_tests(self) -> None:
        """With two runs, the differences of all tests give the noise."""
        change = change_of(RunHistory([run(0.1, 1)], [run(0.2, 2)], base=1))
        assert outcome(change) == (1, None)
        assert change.history == 1
        assert change.noise is not None

    def test_two_runs_of_few_tests_have_no_noise(self) -> None:
        """With neither a history nor other tests, nothing can be detected."""
        change = change_of(RunHistory([run(0.1, 1, others=2)], [run(0.2, 2, others=2)], base=1))
        assert (change.direction, change.noise) == (0, None)

    def test_one_test_is_judged_by_its_own_noise(self) -> None:
        """A test alone needs a history of its own."""
        assert outcome(change_of(RunHistory(history(others=0), [run(0.15, 99, others=0)]))) == (1, None)
        short = change_of(RunHistory(history(others=0, number=MIN_HISTORY - 1), [run(0.15, 99, others=0)]))
        assert (short.direction, short.noise) == (0, None)


class TestResources:
    """Resources other than time."""

    def test_negative_memory_can_change_but_has_no_ratio(self) -> None:
        """The plugin subtracts a baseline, so memory can be below zero; a growth is found, and has no ratio."""
        past = [{name(f"t{n}"): -0.5 + 0.01 * ((n + s) % 3) for n in range(8)} for s in range(10)]
        head = {**past[0], name("t0"): 30.0}
        detected = detect_changes(RunHistory(past, [head]), SCALES["mem_usage"], ChangeLimits(0.05, 1.0))
        change = detected.changes[name("t0")]
        assert (change.direction, change.ratio, change.corrected_ratio) == (1, None, None)
        assert detected.shift.ratio is None
        assert {key for key, other in detected.changes.items() if other.direction} == {name("t0")}

    def test_memory_has_no_shift(self) -> None:
        """If all tests need more memory, each of them has changed."""
        past = [{name(f"t{n}"): 10.0 + n for n in range(8)} for _ in range(10)]
        head = {key: value + 20.0 for key, value in past[0].items()}
        changes = detect_changes(RunHistory(past, [head]), SCALES["mem_usage"], ChangeLimits(0.05, 1.0)).changes
        assert {change.direction for change in changes.values()} == {1}

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
    def test_any_values_give_finite_results(
        self, runs: list[Mapping[ItemName, float]], resource: str, based: bool
    ) -> None:
        """Any numbers in any runs give finite results, with each test of the head once."""
        history_ = RunHistory(runs[:-1], runs[-1:], base=int(based and len(runs) > 1))
        detected = detect_changes(history_, SCALES[resource], ChangeLimits())
        assert set(detected.changes) | set(detected.new) == set(runs[-1])
        assert not set(detected.changes) & set(detected.new)
        for change in detected.changes.values():
            numbers = (change.level, change.corrected, change.noise or 0.0)
            assert all(math.isfinite(number) for number in numbers)


class TestSimulation:
    """A thousand tests with known changes on a simulated unsteady machine."""

    def test_there_are_few_false_alarms_and_most_large_changes_are_found(self) -> None:
        """Simple rules raise dozens of false alarms in a session; this one raises few, and finds most large changes."""
        suites, rules = 4, simulation.RULES
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

    def test_two_sessions_find_large_changes(self) -> None:
        """Two sessions alone still find large changes, with a few more false alarms."""
        sums = simulation.simulate({"smartmob": simulation.ours}, 6, 2)["smartmob"]
        assert sums["confirmed false"] / 6 <= 4.0
        assert sums["confirmed 50%"] / 6 / simulation.EACH >= 0.4


def test_a_history_without_a_head_has_no_changes() -> None:
    """Without a head there are neither changes nor new tests."""
    detected: DetectedChanges = detect_changes(RunHistory(history(), []), TIME, ChangeLimits())
    assert (detected.changes, detected.new) == ({}, {})
