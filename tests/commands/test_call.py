"""What a command's function gets first."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.commands.call import ClientSession


@pytest.mark.parametrize(
    ("given", "path"),
    [
        ("a", "/home/me/a"),
        ("../x", "/home/x"),
        ("/etc", "/etc"),
        (".", "/home/me"),
        ("a//b/../c", "/home/me/a/c"),
        ("../../../..", "/"),
    ],
)
def test_paths(given: str, path: str) -> None:
    """They begin at the session's working directory."""
    assert ClientSession("me", Path("/home/me")).path(given) == Path(path)


def test_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """`~` is the home of the service's user."""
    monkeypatch.setenv("HOME", "/home/other")
    assert ClientSession("me", Path("/")).path("~/x") == Path("/home/other/x")
