"""The system user of the embedded database."""

from __future__ import annotations

import os
import pwd
import subprocess

import pytest

from smartmob.errors import DatabaseError
from smartmob.kernel.embedded import account
from smartmob.kernel.embedded.account import Account, find


def test_who_it_is() -> None:
    """Root's database runs as somebody else who cannot sign in; everybody else's runs as themselves."""
    found = find()

    assert found.ours == pwd.getpwuid(os.geteuid()).pw_name
    assert found.foreign == (os.geteuid() == 0)
    assert found.uid != 0
    if found.foreign:
        assert found.name == "smartmob"
        assert pwd.getpwnam(found.name).pw_shell.endswith(("nologin", "false"))
    else:
        assert found.uid == os.geteuid()


def test_programs_run_as_it() -> None:
    """A program that is started with its options has its user and group and no other groups."""
    found = find()

    said = subprocess.run(
        ["id", "-u"], check=True, capture_output=True, text=True, cwd="/", **found.popen_options()
    ).stdout
    groups = subprocess.run(
        ["id", "-G"], check=True, capture_output=True, text=True, cwd="/", **found.popen_options()
    ).stdout

    assert int(said) == found.uid
    assert str(found.gid) in groups.split()
    if found.foreign:
        assert groups.split() == [str(found.gid)]


def test_ones_own_user_needs_no_change() -> None:
    """Whoever runs programs as itself starts them without further options."""
    assert Account("me", os.geteuid(), os.getegid(), "me").popen_options() == {}


def test_a_user_without_a_name(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may run as a number that nobody knows: the error says so and what to do."""
    monkeypatch.setattr("os.geteuid", lambda: 3_999_999_999)

    with pytest.raises(DatabaseError, match=r"user id 3999999999 has none.*--database-url"):
        find()


@pytest.fixture(name="as_root")
def _as_root(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Look for a system user that is not there, as root would."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(account, "NAME", "smartmob-of-no-machine")
    return monkeypatch


def test_no_program_to_make_it(as_root: pytest.MonkeyPatch) -> None:
    """Where no user can be added the error names the ways on."""
    as_root.setattr(account, "_CREATORS", (("no-such-program-of-any-machine",),))

    with pytest.raises(DatabaseError) as caught:
        find()

    said = str(caught.value)
    assert "'smartmob-of-no-machine'" in said
    assert "no program to add a user was found" in said
    assert "--database-url" in said


def test_a_program_that_refuses_to_make_it(as_root: pytest.MonkeyPatch) -> None:
    """What the program said is part of the error."""
    as_root.setattr(account, "_CREATORS", (("sh", "-c", "echo the file is locked >&2; exit 1"),))

    with pytest.raises(DatabaseError, match="the file is locked"):
        find()
