"""The session of a client: paths begin at its working directory."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.commands.session import ClientSession


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", "/home/me/a"),
        ("../x", "/home/x"),
        ("/etc", "/etc"),
        (".", "/home/me"),
        ("a//b/../c", "/home/me/a/c"),
        ("../../../..", "/"),
    ],
)
def test_relative_paths_begin_at_the_working_directory(text: str, path: str) -> None:
    """An absolute path stays as it is."""
    assert ClientSession("me", Path("/home/me")).path(text) == Path(path)


def test_a_tilde_is_the_home_of_the_services_user(monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` does not depend on the client's working directory."""
    monkeypatch.setenv("HOME", "/home/other")
    assert ClientSession("me", Path("/")).path("~/x") == Path("/home/other/x")
