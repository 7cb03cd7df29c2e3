"""The system user of the embedded database."""

from __future__ import annotations

import os
import pwd
import subprocess

import pytest

from smartmob.errors import DatabaseError
from smartmob.kernel.embedded import account
from smartmob.kernel.embedded.account import DatabaseUser, find


def test_root_runs_the_database_as_the_system_user() -> None:
    """That user cannot log in; any other user runs the database as itself."""
    found = find()

    assert found.ours == pwd.getpwuid(os.geteuid()).pw_name
    assert found.foreign == (os.geteuid() == 0)
    assert found.uid != 0
    if found.foreign:
        assert found.name == "smartmob"
        assert pwd.getpwnam(found.name).pw_shell.endswith(("nologin", "false"))
    else:
        assert found.uid == os.geteuid()


def test_programs_get_the_user_and_group_of_the_account() -> None:
    """They have no other groups."""
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


def test_the_own_user_needs_no_options() -> None:
    """A program starts as this user by default."""
    assert DatabaseUser("me", os.geteuid(), os.getegid(), "me").popen_options() == {}


def test_a_user_without_a_name_is_refused_with_advice(monkeypatch: pytest.MonkeyPatch) -> None:
    """A container may run as a user id that the user database does not have."""
    monkeypatch.setattr("os.geteuid", lambda: 3_999_999_999)

    with pytest.raises(DatabaseError, match=r"user id 3999999999 has none.*--database-url"):
        find()


@pytest.fixture(name="as_root")
def _as_root(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Look for a missing system user as root does."""
    monkeypatch.setattr("os.geteuid", lambda: 0)
    monkeypatch.setattr(account, "NAME", "smartmob-of-no-machine")
    return monkeypatch


def test_a_system_without_a_program_to_add_users_is_reported_with_advice(as_root: pytest.MonkeyPatch) -> None:
    """The error names the alternatives."""
    as_root.setattr(account, "_CREATORS", (("no-such-program-of-any-machine",),))

    with pytest.raises(DatabaseError) as caught:
        find()

    said = str(caught.value)
    assert "'smartmob-of-no-machine'" in said
    assert "no program to add a user was found" in said
    assert "--database-url" in said


def test_the_message_of_the_program_that_adds_users_is_reported(as_root: pytest.MonkeyPatch) -> None:
    """The error contains it."""
    as_root.setattr(account, "_CREATORS", (("sh", "-c", "echo the file is locked >&2; exit 1"),))

    with pytest.raises(DatabaseError, match="the file is locked"):
        find()
