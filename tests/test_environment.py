"""The environment of the service and of its programs."""

from __future__ import annotations

import pytest

from smartmob.environment import environment, inherited


def test_environment_is_a_copy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Changing the result does not change the environment of the process."""
    monkeypatch.setenv("SMARTMOB_UTC", "true")

    found = environment()
    found["SMARTMOB_UTC"] = "false"

    assert environment()["SMARTMOB_UTC"] == "true"


def test_programs_inherit_no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Programs inherit neither the settings of the service nor the variables of systemd."""
    for name in ("SMARTMOB_TOKEN", "DATABASE_URL", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID", "OTHER"):
        monkeypatch.setenv(name, "x")

    assert {"SMARTMOB_TOKEN", "DATABASE_URL", "NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"}.isdisjoint(inherited())
    assert inherited()["OTHER"] == "x"
