"""The lines that say why a turret has no connection."""

from __future__ import annotations

import pytest

from smartmob.turrets.turret.connection_diagnosis import ConnectionDiagnosis

WHERE = "tcp://127.0.0.1:5000"


@pytest.mark.parametrize(
    ("has_keys", "events", "words"),
    [
        (False, ["CONNECTED", "HANDSHAKE_FAILED_NO_DETAIL", "DISCONNECTED"], "does not speak ZeroMQ"),
        (True, ["CONNECTED", "HANDSHAKE_FAILED_NO_DETAIL", "DISCONNECTED"], "has another key than the one of"),
        (False, ["CONNECTED", "HANDSHAKE_FAILED_PROTOCOL", "DISCONNECTED"], "give its public key with --hq-key-file"),
        (True, ["CONNECTED", "HANDSHAKE_FAILED_PROTOCOL", "DISCONNECTED"], "uses no keys"),
        (True, ["CONNECTED", "HANDSHAKE_FAILED_AUTH", "DISCONNECTED"], "does not know the key of this turret"),
        (False, ["CONNECTED", "DISCONNECTED"], "is not the headquarters' port for orders"),
    ],
)
def test_a_failed_handshake_is_said_once(has_keys: bool, events: list[str], words: str) -> None:
    """libzmq tries again ten times a second, and the line says what to change."""
    diagnosis = ConnectionDiagnosis(WHERE, "orders", has_keys=has_keys)
    lines = [line for event in events * 5 if (line := diagnosis.handle(event)) is not None]
    assert len(lines) == 1
    assert WHERE in lines[0]
    assert words in lines[0]
    assert diagnosis.overdue() is None


@pytest.mark.parametrize(
    ("events", "words"),
    [([], "nothing listens at"), (["CLOSED"] * 3, "nothing listens at"), (["CONNECTED"], "does not answer")],
)
def test_a_missing_connection_is_said_after_a_while(events: list[str], words: str) -> None:
    """A headquarters may start a moment later, so nothing is said at once."""
    diagnosis = ConnectionDiagnosis(WHERE, "orders", has_keys=False)
    assert [diagnosis.handle(event) for event in events] == [None] * len(events)
    line = diagnosis.overdue()
    assert line is not None
    assert words in line
    assert diagnosis.overdue() is None


def test_a_lost_connection_is_no_wrong_port() -> None:
    """The turret says by itself that the headquarters is gone."""
    diagnosis = ConnectionDiagnosis(WHERE, "orders", has_keys=False)
    events = ["CONNECTED", "HANDSHAKE_SUCCEEDED", "DISCONNECTED", "CLOSED", "CONNECTED", "HANDSHAKE_SUCCEEDED"]
    assert [diagnosis.handle(event) for event in events] == [None] * len(events)
    assert diagnosis.connected
