"""Slices of samples."""

from __future__ import annotations

import random

import pytest

from smartmob.errors import InvalidInput
from smartmob.turrets.names import FURTHER_TIMERS
from smartmob.turrets.outcomes import Outcomes
from smartmob.turrets.protocol import MOST_TIMERS
from smartmob.turrets.result_files import sample_slices
from smartmob.turrets.result_files.load_sample import LoadSample
from smartmob.turrets.result_files.sample_slices import SampleSummary, slices
from smartmob.turrets.slices import TRANSACTION

BEGIN = 1_700_000_000.0


def _samples(count: int, seed: int = 1) -> list[LoadSample]:
    chance = random.Random(seed)
    found = []
    for number in range(count):
        seconds = chance.lognormvariate(-3, 0.5)
        failed = chance.random() < 0.1
        end = BEGIN + chance.uniform(0, 300) + seconds
        found.append(
            LoadSample(end, seconds, f"t{number % 3}", failed, "no" if failed else "", "", "500" if failed else "")
        )
    return found


def _totals(samples: list[LoadSample]) -> dict[str, Outcomes]:
    found: dict[str, Outcomes] = {}
    for part in slices(samples, SampleSummary(samples)):
        found.setdefault(part.timer, Outcomes()).merge(part)
    return found


def _percentile(values: list[float], share: float) -> float:
    """Return a percentile by the nearest rank, independently of the histograms."""
    ordered = sorted(values)
    return ordered[max(0, -(-len(ordered) * share // 100).__int__() - 1)]


@pytest.mark.parametrize("most_open", [3, 20_000])
def test_counts_and_percentiles_are_those_of_the_samples(most_open: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if few seconds are kept in memory, so that most have several slices."""
    monkeypatch.setattr(sample_slices, "_MOST_OPEN", most_open)
    samples = _samples(4000)
    totals = _totals(samples)
    for timer in ("t0", "t1", "t2", TRANSACTION):
        own = [sample for sample in samples if timer in (TRANSACTION, sample.timer)]
        good = [sample.seconds for sample in own if not sample.failed and sample.seconds is not None]
        assert (totals[timer].count, totals[timer].errors) == (len(own), len(own) - len(good))
        found = totals[timer].ok.percentiles([50, 95, 99, 99.9])
        for share, value in found.items():
            assert value == pytest.approx(_percentile(good, share), rel=0.001), (timer, share)
    assert totals[TRANSACTION].failed.kinds["no"].code == "500"


def test_values_that_are_no_transactions_are_only_in_their_timer() -> None:
    """Without any transaction all of them are transactions."""
    group = LoadSample(BEGIN, 1.0, "group", counted=False)
    assert set(_totals([group, LoadSample(BEGIN, 1.0, "a")])) == {"group", "a", TRANSACTION}
    summary = SampleSummary([group])
    assert (summary.all_count, summary.transactions, _totals([group])[TRANSACTION].count) == (True, 1, 1)


def test_a_failure_without_a_duration_is_counted_and_in_no_distribution() -> None:
    """Its time is unknown, not zero."""
    totals = _totals([LoadSample(BEGIN, None, "a", failed=True, error="refused")])
    assert (totals["a"].count, totals["a"].failed.untimed, totals["a"].failed.count) == (1, 1, 0)


def test_timers_beyond_the_limit_are_counted_together() -> None:
    """A script may put an id into each name."""
    samples = [LoadSample(BEGIN, 0.1, f"/item/{number}") for number in range(MOST_TIMERS + 50)]
    totals = _totals(samples)
    assert len(totals) == MOST_TIMERS + 1
    assert totals[FURTHER_TIMERS].count == 51
    assert totals[TRANSACTION].count == len(samples)


def test_a_file_that_spans_months_is_refused() -> None:
    """One wrong time stamp would make a run of years."""
    with pytest.raises(InvalidInput, match="divide the file"):
        SampleSummary([LoadSample(BEGIN, 1.0, "a"), LoadSample(BEGIN + 40 * 86_400, 1.0, "a")])


def test_texts_that_the_database_cannot_store_are_replaced() -> None:
    """NUL and lone surrogates."""
    totals = _totals([LoadSample(BEGIN, 1.0, "a", failed=True, error="a\0b\ud800")])
    assert list(totals["a"].failed.errors) == ["a\ufffdb?"]
