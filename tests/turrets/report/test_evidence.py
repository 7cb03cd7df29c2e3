"""The evidence behind the statistics of a run: errors, sample sizes, the model and the plan."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest
from msgspec.structs import replace

from smartmob.turrets.model import ALL_TRANSACTIONS, Absence, Counters, LoadPlan, TimerStats, Trust
from smartmob.turrets.report.evidence import RunEvidence, facts, planned_count, values_above
from smartmob.turrets.report.trust import judge
from tests.turrets.report.test_trust import FINE, NOON

CLOSED = LoadPlan(model="closed", words=[])
STEADY = LoadPlan(model="open", words=[], rates=[(0.0, 100.0), (60.0, 100.0)])
RUN = RunEvidence(ended=True, plan=CLOSED, duration=60.0)


def _stats(count: int, errors: int = 0) -> TimerStats:
    """Return the statistics of values of which some failed; those of the others are the samples."""
    durations: dict[str, Any] = {"min": 0.1, "avg": 0.1, "percentiles": {}, "max": 0.1, "stdev": 0.0}
    return TimerStats(count=count, errors=errors, rate=count / 60, samples=count - errors, **durations)


def _judge(own: TimerStats, evidence: RunEvidence = RUN, **timers: TimerStats) -> Trust:
    found = {ALL_TRANSACTIONS: own} | timers
    return judge([FINE], Counters(), own.count, None, 0, timers=found, evidence=evidence)


@pytest.mark.parametrize(
    ("own", "timers", "verdict", "words"),
    [
        (_stats(2_260, 2_260), {}, "no", "All 2,260 transactions failed, so there are no durations of"),
        (_stats(1, 1), {}, "no", "The only transaction failed"),
        (_stats(1_000, 550), {}, "no", "55.0% of the transactions failed (550 of 1,000)"),
        (_stats(1_000, 20), {}, "with care", "2.0% of the transactions failed"),
        (_stats(1_000, 5), {}, "yes", ""),
        (_stats(1_000), {"login": _stats(165, 165)}, "no", "Every measurement of login failed."),
        (_stats(1_000), {name: _stats(9, 9) for name in "abcde"}, "no", "Every measurement of a, b, c and 2 more"),
        (
            msgspec.structs.replace(_stats(1_000, 3), mixed=3),
            {},
            "with care",
            "The durations contain those of 3 failures: turrets or a service of an earlier version",
        ),
        (_stats(4), {}, "with care", "There are only 4 successful transactions, too few for a p99"),
        (_stats(500, 401), {}, "no", "There are only 99 successful transactions, too few for a p99"),
        (
            _stats(1_000),
            {"(further timers)": _stats(902)},
            "with care",
            "902 values are counted together under (further timers)",
        ),
    ],
)
def test_each_doubt_has_its_level_and_text(
    own: TimerStats, timers: dict[str, TimerStats], verdict: str, words: str
) -> None:
    """A run in which all transactions failed is never trusted."""
    trust = _judge(own, **timers)
    assert trust.verdict == verdict
    assert words in " ".join(doubt.what for doubt in trust.doubts)


@pytest.mark.parametrize(("done", "verdict"), [(6_000, "yes"), (5_900, "yes"), (5_700, "with care"), (5_000, "no")])
def test_a_plan_that_was_not_kept_is_a_doubt(done: int, verdict: str) -> None:
    """The planned number is that of the whole plan."""
    trust = _judge(_stats(done), RunEvidence(ended=True, plan=STEADY, duration=60.0))
    assert trust.verdict == verdict
    assert f"Rate: 100/s planned, {done / 60:,.4g}/s achieved ({done / 6_000:.1%})." in trust.facts


def test_the_plan_is_counted_without_warm_up_and_until_the_end() -> None:
    """A ramp counts with its rate at each time, and a run that was stopped with what was due until then."""
    plan = LoadPlan(model="open", words=[], rates=[(0.0, 0.0), (10.0, 100.0), (60.0, 100.0)])
    assert planned_count(RunEvidence(ended=True, plan=plan, duration=60.0)) == 5_500
    assert planned_count(RunEvidence(ended=True, plan=plan, duration=20.0, warm_up=5.0)) == 1_375
    assert planned_count(RUN) == 0


def test_a_run_that_goes_on_has_no_verdict() -> None:
    """Doubts that its end cannot remove are there; that turrets have not sent everything is none of them."""
    member: Any = msgspec.structs.replace(FINE, expected=None)
    going = RunEvidence(ended=False, plan=CLOSED, duration=60.0)
    timers = {ALL_TRANSACTIONS: _stats(10, 10)}
    trust = judge([member], Counters(), 10, None, 0, timers=timers, evidence=going)
    assert (trust.verdict, [doubt.what[:3] for doubt in trust.doubts]) == ("not yet", ["All"])
    empty = judge([], Counters(), 0, None, 0, timers={ALL_TRANSACTIONS: _stats(0)}, evidence=going)
    assert empty.doubts == []


@pytest.mark.parametrize(("model", "words"), [("closed", "coordinated omission"), ("open", "from the planned start")])
def test_the_facts_say_the_model_and_the_sample(model: Any, words: str) -> None:
    """A closed model says what it cannot see, and the sample has the number of values above high percentiles."""
    plan = LoadPlan(model=model, words=[])
    timers = {ALL_TRANSACTIONS: _stats(12_012, 12)}
    found = facts(timers, [FINE], RunEvidence(ended=True, plan=plan, duration=60.0, warm_up=10.0))
    assert words in found[0]
    assert "12,012 transactions in 50 s, after 10 s of warm-up; of the successful ones, 120 above p99, 12" in found[1]
    assert "12 failed (0.10%), 12,000 OK; durations are of the successful ones." in " ".join(found)
    mixed = {ALL_TRANSACTIONS: msgspec.structs.replace(timers[ALL_TRANSACTIONS], mixed=12)}
    assert "12 failed (0.10%), 12,000 OK." in " ".join(facts(mixed, [FINE], RUN)), "durations are of all of them"


def test_large_numbers_are_no_powers_of_ten() -> None:
    """A run of hours, a rate of thousands and a turret that stood still for seconds are written with their digits."""
    plan = LoadPlan(model="open", words=[], rates=[(0.0, 15_700.0), (14_401.0, 15_700.0)])
    timers = {ALL_TRANSACTIONS: msgspec.structs.replace(_stats(1_000), rate=15_699.6)}
    member = msgspec.structs.replace(FINE, lag=2.85)
    found = " ".join(facts(timers, [member], RunEvidence(ended=True, plan=plan, duration=14_401.0)))
    assert "1,000 transactions in 14,401 s;" in found
    assert "15,700/s planned, 15,700/s achieved" in found
    assert "its longest lag was 2.85 s." in found


def test_values_above_a_percentile() -> None:
    """Of 1,000 values ten lie above the p99 and one above the p99.9."""
    assert [values_above(1_000, share) for share in (50.0, 99.0, 99.9, 99.99)] == [500, 10, 1, 0]


def test_a_turret_that_did_not_come_back_is_lost_for_good() -> None:
    """Only one that came back was lost for a time; while the run goes on, one can still come back."""
    gone, back = Absence(NOON), Absence(NOON, NOON.replace(minute=5))
    lost = [[], [gone], [back], [back, gone]]
    members = [msgspec.structs.replace(FINE, lost=absences) for absences in lost]
    timers = {ALL_TRANSACTIONS: _stats(1_000)}
    for ended, said in ((True, "2 of them lost for good"), (False, "2 of them lost now")):
        found = facts(timers, members, replace(RUN, ended=ended))
        assert f"Turrets: 4 took part, {said} and 1 of them lost for a time." in found
    assert "Turrets: 1 took part, none was lost." in facts(timers, members[:1], RUN)
