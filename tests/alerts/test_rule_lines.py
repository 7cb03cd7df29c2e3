"""Rules and receivers as the settings give them."""

from __future__ import annotations

import pytest

from smartmob.alerts.model import NewReceiver, NewRule
from smartmob.alerts.rule_lines import parse_receiver, parse_rule
from smartmob.errors import SettingsError


def test_a_rule_is_read_from_one_line() -> None:
    """The condition comes first, and each clause may follow it in any order."""
    line = "busy: cpu > 90 for 5m clear 80 on rack* lab-1 to ops team severity critical repeat 1h without resolved"
    assert parse_rule(line, "--alerts-rules") == (
        "busy",
        NewRule(
            condition="cpu > 90 for 5m clear 80",
            subjects=["rack*", "lab-1"],
            receivers=["ops", "team"],
            severity="critical",
            repeat=3600.0,
            resolved=False,
        ),
    )
    assert parse_rule("gone: silent for 5m", "x") == ("gone", NewRule(condition="silent for 5m"))


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("cpu > 90", "expected NAME: CONDITION"),
        ("busy:", "expected NAME: CONDITION"),
        ("busy: cpu >> 90", "expected a number"),
        ("busy: cpu > 90 on", "did not expect 'on'"),
        ("busy: cpu > 90 severity fatal", "Invalid enum value 'fatal'"),
        ("busy: cpu > 90 repeat 1s", "Expected `float` >= 60"),
        ("busy: cpu > 90 repeat often", "expected a duration"),
        ("busy: cpu > 90 without end", "did not expect 'without end'"),
    ],
)
def test_a_line_that_is_no_rule_names_its_setting(line: str, reason: str) -> None:
    """The service does not start with it."""
    with pytest.raises(SettingsError) as caught:
        parse_rule(line, "--alerts-rules")
    assert str(caught.value).startswith("--alerts-rules") and reason in str(caught.value)


def test_a_receiver_is_read_from_one_text() -> None:
    """An address may contain an equals sign, and the name tells a format."""
    assert parse_receiver("ops=https://x.example/h?a=b", "s", "k") == (
        "ops",
        NewReceiver(address="https://x.example/h?a=b", secret="k"),
    )
    assert parse_receiver("chat+slack=https://x.example/h", "s")[1].format == "slack"


@pytest.mark.parametrize("text", ["https://x.example/secret", "ops", "ops=", "ops+teams=https://x.example/secret"])
def test_a_text_that_is_no_receiver_is_not_shown(text: str) -> None:
    """The address of a webhook is a secret."""
    if text == "https://x.example/secret":
        text = "https://x.example/secret?"
    with pytest.raises(SettingsError) as caught:
        parse_receiver(text, "--alerts-receivers")
    assert "secret" not in str(caught.value)
