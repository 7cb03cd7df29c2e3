"""Rules about the course of a run, by histories without a turret."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from smartmob.turrets.conformance import run_rules
from smartmob.turrets.conformance.frame_rules import Configured, ReceivedFrame, read
from smartmob.turrets.conformance.rules import RuleFindings, RuleResult
from smartmob.turrets.conformance.run_rules import RunRecord

CONFIGURED = Configured("nav", 3, 1.0)
WALL = 1_700_000_000.0
START = 100.0  # seconds of the steady clock


def result(at: float, **values: Any) -> ReceivedFrame:
    """Return a right result of a transaction of 0.1 s that came `at` seconds after the order, with other values."""
    content = {"elapsed": at, "epoch": WALL + at, "scriptrun_time": 0.1, "error": "", "custom_timers": {}}
    return read(json.dumps(content | values).encode(), START + at, WALL + at)[0]


def status(at: float, text: str) -> ReceivedFrame:
    """Return a status that came `at` seconds after the order."""
    return read(json.dumps({"status": text}).encode(), START + at, WALL + at)[0]


def record(**values: Any) -> RunRecord:
    """Return a run in which all went right, with other values."""
    usual = {"all_at": START + 0.7, "stopped_at": START + 3, "ready_at": START + 3.1, "hits": 5, "peak": 3}
    return RunRecord(ordered_at=START, ordered_wall=WALL, delay=0.1, **({"later_peak": 3} | usual | values))


def failures(judge: Callable[..., None], *arguments: Any) -> dict[str, str]:
    """Return the rules that a judgement found broken, with the reasons."""
    findings = RuleFindings()
    judge(*arguments, findings)
    return {one.rule: one.why for one in findings.checks() if one.result == "failed"}


def found(judge: Callable[..., None], *arguments: Any) -> dict[str, RuleResult]:
    """Return all findings of a judgement."""
    findings = RuleFindings()
    judge(*arguments, findings)
    return {one.rule: one for one in findings.checks()}


RESULTS = [result(at) for at in (0.2, 0.8, 1.4, 2.0, 2.6)]


def test_right_results_pass() -> None:
    """Also with whole seconds, as turrets of OCT send them, and when a busy machine delivers them late."""
    for results in (
        RESULTS,
        [result(at, elapsed=int(at), epoch=int(WALL + at)) for at in (0.2, 1.3, 2.9)],
        [result(60 + at, elapsed=at, epoch=WALL + at) for at in (0.2, 0.8, 1.4)],
        [],
    ):
        assert failures(run_rules.judge_results, results, record()) == {}


@pytest.mark.parametrize(
    ("values", "rule"),
    [
        ({"elapsed": 800.0}, "result-elapsed"),  # milliseconds, or the time since an earlier run
        ({"scriptrun_time": 100.0}, "result-duration"),  # milliseconds
        ({"scriptrun_time": 0.0001}, "result-duration"),  # without the time of the answer
        ({"epoch": WALL * 1000}, "result-epoch"),  # milliseconds
        ({"epoch": 0.8}, "result-epoch"),  # seconds since the start
        ({"epoch": WALL - 3600}, "result-epoch"),  # local time in place of UTC
    ],
)
def test_a_wrong_time_breaks_its_rule_only(values: dict[str, float], rule: str) -> None:
    """Other units and other clocks are recognised in a single result."""
    assert set(failures(run_rules.judge_results, [*RESULTS, result(2.8, **values)], record())) == {rule}


def test_elapsed_that_does_not_grow() -> None:
    """It is the duration of the transaction, which is told from a run of whole seconds."""
    results = [result(at, elapsed=0.1) for at in (0.2, 1.4, 2.6)]
    assert set(failures(run_rules.judge_results, results, record())) == {"result-elapsed"}


def test_a_failed_transaction_may_be_short() -> None:
    """The target did not answer it, so only successes must last as long as the answer."""
    results = [result(at, scriptrun_time=0.0, error="refused") for at in (0.2, 0.8)]
    assert failures(run_rules.judge_results, results, record()) == {}


def test_more_and_fewer_cannons_than_configured_break_the_rule() -> None:
    """More and fewer than configured are told, and those that another start has added are told as that."""
    judge = run_rules.judge_load
    assert failures(judge, record(), CONFIGURED) == {}
    assert set(failures(judge, record(peak=4, later_peak=4), CONFIGURED)) == {"cannons"}
    assert set(failures(judge, record(later_peak=6), CONFIGURED)) == {"repeated-start"}
    few = found(judge, record(peak=2, all_at=None), CONFIGURED)
    assert (few["cannons"].result, few["rampup"].result) == ("failed", "passed")


def test_cannons_that_fire_at_once_break_the_rampup() -> None:
    """Cannons that all fire at once break it; a single cannon cannot, nor cannons that begin late."""
    judge = run_rules.judge_load
    assert set(failures(judge, record(all_at=START + 0.1), CONFIGURED)) == {"rampup"}
    assert failures(judge, record(all_at=START + 50), CONFIGURED) == {}
    assert failures(judge, record(all_at=START + 0.1, peak=1, later_peak=1), Configured("nav", 1, 1.0)) == {}


def test_each_request_has_one_result() -> None:
    """A result for each request, not more and not fewer."""
    judge = run_rules.judge_counts
    assert failures(judge, RESULTS, record()) == {}
    assert failures(judge, RESULTS, record(hits=6)) == {"counts": "5 results for 6 transactions of the target"}
    assert set(failures(judge, [], record())) == {"counts"}


def test_each_status_says_running_until_stop() -> None:
    """From the first Running to stop each status says Running; before and after, others may come."""
    judge = run_rules.judge_conditions
    right = [status(0.1, "ready"), status(0.3, "RUNNING"), status(2.0, "Running"), status(3.2, "ready")]
    assert failures(judge, right, record()) == {}
    wrong = [*right[:2], status(1.0, "waiting"), *right[2:]]
    assert "'waiting'" in failures(judge, wrong, record())["running-status"]


def test_results_after_ready_are_reported_as_unsupported() -> None:
    """They are told and no failure, since a headquarters waits for them."""
    judge = run_rules.judge_order
    assert found(judge, RESULTS, record())["results-before-ready"].result == "passed"
    late = found(judge, [*RESULTS, result(3.5)], record())["results-before-ready"]
    assert (late.result, "1 result came" in late.why) == ("not supported", True)
