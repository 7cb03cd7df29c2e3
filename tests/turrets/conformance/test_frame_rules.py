"""Rules about one frame of a turret."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from smartmob.turrets.conformance.frame_rules import RESULT_KEYS, STATUS_KEYS, Configured, as_number, judge_frame, read
from smartmob.turrets.conformance.rules import RuleFindings
from smartmob.turrets.protocol import LONGEST_MESSAGE
from smartmob.turrets.turret import configuration

CONFIGURED = Configured("nav", 250, 30.0)
STATUS = {"turret": "nav", "status": "READY", "uuid": "d7b8", "rampup": "30", "script": "tests/nav.py", "canons": "250"}
RESULT = {
    **{"turret_name": "nav", "elapsed": 1.5, "epoch": 1_700_000_000, "scriptrun_time": 0.25, "error": ""},
    "custom_timers": {"page": 0.2},
}


def broken(frame: bytes, *, extended: bool = False) -> set[str]:
    """Return the rules that a frame breaks."""
    findings = RuleFindings()
    message, fault = read(frame, 0.0, 0.0)
    if fault is not None:
        return {fault.rule}
    judge_frame(message, CONFIGURED, findings, extended=extended)
    return {one.rule for one in findings.checks() if one.result == "failed"}


def test_the_messages_of_the_seed_are_right() -> None:
    """Numbers as texts, both spellings of cannons, and a result without the name of its turret."""
    assert broken(json.dumps(STATUS).encode()) == set()
    modern = {key: value for key, value in STATUS.items() if key != "canons"} | {"cannons": 250, "rampup": 30.0}
    assert broken(json.dumps(modern).encode()) == set()
    assert broken(json.dumps(RESULT).encode()) == set()
    assert broken(json.dumps({key: value for key, value in RESULT.items() if key != "turret_name"}).encode()) == set()


FRAMES = [
    b"",
    b"hello",
    b"[1]",
    b"null",
    b"{}",
    b"\xff{}",
    b'{"status": ',
    b" " * (LONGEST_MESSAGE + 1),
    b"[" * 100_000,
]


def test_a_frame_has_one_object_of_json() -> None:
    """All else is told as such, also what nests too deeply or is too long."""
    assert [broken(frame) for frame in FRAMES] == [{"frames"}] * len(FRAMES)


@pytest.mark.parametrize(
    ("kind", "key", "value", "rule"),
    [
        ("status", "uuid", "", "status-fields"),
        ("status", "uuid", None, "status-fields"),
        ("status", "status", None, "status-fields"),
        ("status", "script", 7, "status-fields"),
        ("status", "rampup", None, "status-fields"),
        ("status", "canons", "many", "status-fields"),
        ("status", "rampup", True, "status-fields"),
        ("status", "turret", "other", "status-values"),
        ("status", "canons", 251, "status-values"),
        ("status", "rampup", 30_000, "status-values"),
        ("status", "version", "2.0", "documented-keys"),
        ("result", "elapsed", None, "result-fields"),
        ("result", "elapsed", -1, "result-fields"),
        ("result", "epoch", "2024-01-01", "result-fields"),
        ("result", "scriptrun_time", [1], "result-fields"),
        ("result", "scriptrun_time", "nan", "result-fields"),
        ("result", "error", None, "result-fields"),
        ("result", "custom_timers", None, "result-fields"),
        ("result", "custom_timers", [], "result-fields"),
        ("result", "custom_timers", {"page": "slow"}, "result-fields"),
        ("result", "custom_timers", {"page": -1}, "result-fields"),
        ("result", "turret_name", "other", "result-fields"),
        ("result", "sequence", 1, "documented-keys"),
    ],
)
def test_a_field_breaks_its_rule_only(kind: str, key: str, value: object, rule: str) -> None:
    """Each wrong field names one rule; further keys are allowed once the headquarters has said that it is ours."""
    content: dict[str, Any] = dict(STATUS if kind == "status" else RESULT) | {key: value}
    assert broken(json.dumps(content).encode()) == {rule}
    assert broken(json.dumps(content).encode(), extended=True) == {rule} - {"documented-keys"}


def test_missing_fields_are_named() -> None:
    """Each key is required, except the name of the turret in a result."""
    for whole, rule in ((STATUS, "status-fields"), (RESULT, "result-fields")):
        for key in set(whole) - {"turret_name", "status"}:
            content = {name: value for name, value in whole.items() if name != key}
            assert broken(json.dumps(content).encode()) == {rule}, key


def test_the_text_says_whether_a_turret_fires() -> None:
    """Running fires in any case, also in the spelling of the seed; Aborted and Killed end; all else is idle."""
    for text, state in (
        *(("Running", "fires"), ("RUNING", "fires"), (" running ", "fires"), ("READY", "idle"), ("waiting", "idle")),
        *(("Aborted", "ended"), ("KILLED", "ended"), ("on fire", "idle")),
    ):
        message, _ = read(json.dumps(STATUS | {"status": text}).encode(), 0.0, 0.0)
        assert (message.fires, message.is_idle) == (state == "fires", state == "idle"), text


def test_the_examples_of_the_reference_are_right() -> None:
    """The configuration, the status and the result on the page of the protocol follow its rules."""
    page = Path(__file__).parents[3] / "docs" / "reference" / "turret-protocol.md"
    blocks = re.findall(r"```text\n({.*?)```", page.read_text(encoding="utf-8"), re.DOTALL)
    config, status, result = (json.loads(block) for block in blocks)
    assert configuration.parse(config).cannons == config["cannons"]
    configured = Configured("navigation", 250, 30.0)
    findings = RuleFindings()
    for content in (status, result):
        message, fault = read(json.dumps(content).encode(), 0.0, 0.0)
        assert fault is None
        judge_frame(message, configured, findings, extended=False)
    assert [one.rule for one in findings.checks() if one.result == "failed"] == []
    assert set(status) | {"canons"} == STATUS_KEYS
    assert set(result) == RESULT_KEYS


def test_only_finite_numbers_and_their_texts_are_numbers() -> None:
    """A text can be a number; booleans, infinity and what no float holds cannot."""
    given = [1, "2.5", 1e15, True, "inf", "1e999", None, [], 10**400, "x"]
    assert [as_number(value) for value in given] == [1.0, 2.5, 1e15, *([None] * 7)]
