"""Units of systemd."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from smartmob.cli.systemd_units import SystemdUnit, quote


def _lines(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in text.splitlines():
        if line and not line.startswith(("#", "[")):
            name, _, value = line.partition("=")
            found.setdefault(name, []).append(value)
    return found


UNITS = {
    "service": SystemdUnit(
        "/opt/smartmob/bin/smartmob", ("--host", "0.0.0.0"), token_file="/etc/smartmob/token"
    ).service(),
    "service of a user": SystemdUnit(
        "/opt/smartmob/bin/smartmob", (), user=True, token_file="/home/me/token"
    ).service(),
    "agent": SystemdUnit("/opt/smartmob/bin/smartmob", ("--to", "http://lab:8080"), token_file="/etc/t").agent(),
    "agent of a user": SystemdUnit("/opt/smartmob/bin/smartmob", ("--to", "http://lab:8080"), user=True).agent(),
}


@pytest.mark.parametrize("text", UNITS.values(), ids=UNITS)
def test_each_section_and_each_key_is_there_once(text: str) -> None:
    """Each section is there once, each line sets one thing, nothing twice, and each choice has its reason above it."""
    lines = text.splitlines()
    assert [line for line in lines if line.startswith("[")] == ["[Unit]", "[Service]", "[Install]"]
    assert all(len(values) == 1 for values in _lines(text).values())
    assert sum(line.startswith("#") for line in lines) >= 3


@pytest.mark.parametrize("text", UNITS.values(), ids=UNITS)
def test_systemd_restarts_a_failed_or_hanging_service(text: str) -> None:
    """systemd waits until it tells, starts it again when it fails or stands still, and not when it is used wrongly."""
    set_ = _lines(text)
    assert set_["Type"] == ["notify"]
    assert set_["Restart"] == ["on-failure"]
    assert set_["RestartPreventExitStatus"] == ["2"]
    assert int(set_["WatchdogSec"][0]) >= 30


def test_the_service_ends_its_programs_itself() -> None:
    """SIGTERM goes to it alone, it has the time to wait for them, and one that dies of memory is no end of it."""
    set_ = _lines(UNITS["service"])
    assert (set_["KillMode"], set_["OOMPolicy"]) == (["mixed"], ["continue"])
    assert int(set_["TimeoutStopSec"][0]) > 30 + 10
    assert set_["Delegate"] == ["cpu memory pids"]
    assert set_["ExecReload"] == ["/bin/kill -HUP $MAINPID"]


def test_programs_can_do_their_work() -> None:
    """Nothing that programs under test may need is closed: their own namespaces, code made at run time, homes, /tmp."""
    closed = {"MemoryDenyWriteExecute", "RestrictNamespaces", "SystemCallFilter", "PrivateTmp", "ProtectHome"}
    assert closed.isdisjoint(_lines(UNITS["service"]))
    assert _lines(UNITS["service"])["ProtectSystem"] == ["full"]


def test_a_token_is_passed_as_a_credential() -> None:
    """The machine's systemd hands it over as a credential; that of a user reads what the user can read."""
    assert _lines(UNITS["service"])["LoadCredential"] == ["token:/etc/smartmob/token"]
    assert _lines(UNITS["service"])["ExecStart"][0].endswith(" --token-file %d/token")
    assert "LoadCredential" not in _lines(UNITS["service of a user"])
    assert _lines(UNITS["service of a user"])["ExecStart"][0].endswith(" --token-file /home/me/token")


def test_units_of_a_user_need_no_rights_of_the_machine() -> None:
    """Settings that need the systemd of the machine are left out of the units of a user."""
    for name in ("service of a user", "agent of a user"):
        set_ = _lines(UNITS[name])
        assert not [key for key in set_ if key.startswith(("Protect", "Private", "Dynamic", "Capability", "State"))]
        assert (set_["WantedBy"], "User" in set_) == (["default.target"], False)


@pytest.mark.parametrize(
    ("word", "written"),
    [
        ("--host", "--host"),
        ("0.0.0.0", "0.0.0.0"),
        ("a b", '"a b"'),
        ("100%", '"100%%"'),
        ("$HOME", '"$$HOME"'),
        ('say "x"', '"say \\"x\\""'),
        ("a\\b", '"a\\\\b"'),
        ("", '""'),
        (";", '";"'),
    ],
)
def test_systemd_expands_nothing_in_a_word(word: str, written: str) -> None:
    """A word reaches the program as it was given: systemd expands nothing in it and cuts nothing off."""
    assert quote(word) == written


@pytest.mark.machine
@pytest.mark.parametrize("role", ["service", "agent"])
@pytest.mark.parametrize("user", [False, True])
def test_systemd_accepts_each_line_of_a_unit(tmp_path: Path, role: str, user: bool) -> None:
    """systemd itself knows every line and complains of nothing."""
    program = tmp_path / "a program"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    unit = SystemdUnit(str(program), ("--to", 'http://lab/"%n" $HOME'), user, "/etc/smartmob/token")
    path = tmp_path / f"smartmob-{role}.service"
    path.write_text(unit.service() if role == "service" else unit.agent())
    scope = ("--user",) if user else ()

    done = subprocess.run(
        ["systemd-analyze", *scope, "verify", path],
        env={**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )

    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
