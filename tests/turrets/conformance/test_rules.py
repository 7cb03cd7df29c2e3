"""The findings of a check of a turret."""

from __future__ import annotations

from smartmob.turrets.conformance.rules import LONGEST_FRAME_SHOWN, RULES, RuleFindings, shown


def test_the_first_failure_of_a_rule_stays() -> None:
    """Neither a later success nor another failure hides it; rules without a finding were not reached."""
    findings = RuleFindings()
    findings.passed("starts", "uuid")
    findings.failed("uuid", "first", b"{}")
    findings.failed("uuid", "second")
    findings.passed("uuid")
    findings.skipped(["uuid", "starts", "stops"], "no time")
    findings.unsupported("slices", "none came")
    found = {one.rule: one for one in findings.checks()}
    assert list(found) == [rule.name for rule in RULES]
    assert (found["uuid"].result, found["uuid"].why, found["uuid"].frame) == ("failed", "first", "{}")
    assert [found[name].result for name in ("starts", "stops", "slices", "counts")] == [
        *("passed", "skipped", "not supported", "skipped"),
    ]
    assert (found["stops"].why, found["counts"].why) == ("no time", "not reached")


def test_a_wrong_frame_is_printed_safely() -> None:
    """Bytes that are no text, characters that control a terminal and long frames cannot do harm."""
    assert shown(b"\xff\x1b[31m\x00") == "\\xff\\x1b[31m\\x00"
    assert len(shown(b"x" * 10_000_000)) == LONGEST_FRAME_SHOWN
    assert shown("é".encode()) == "é"
