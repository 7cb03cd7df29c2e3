"""The rules of the two runs; `test_turret_check.py` checks whole runs."""

from __future__ import annotations

from smartmob.turrets.conformance import run_check
from smartmob.turrets.conformance.rules import BY_NAME, RuleFindings


def test_rules_of_the_target_are_known() -> None:
    """With --no-target exactly those rules are skipped that need the requests at the target."""
    findings = RuleFindings()
    findings.skipped(run_check.OF_THE_TARGET, "x")
    assert {one.rule for one in findings.checks() if one.why == "x"} == set(run_check.OF_THE_TARGET) <= set(BY_NAME)
