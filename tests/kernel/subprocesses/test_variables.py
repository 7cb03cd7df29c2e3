"""The rule for variables that a program is given, and that every door has the same."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.errors import InvalidInput
from smartmob.kernel.subprocesses import variables
from smartmob.kernel.subprocesses.spawner import SpawnFailed, Spec
from smartmob.processes import protocol
from smartmob.processes.preparation import envfile, procfile

BAD = ["", "=", "A=B", "A\0", "1A", "a b", "a-b", "é", "A\n", "\ud800"]


@pytest.mark.parametrize("name", BAD)
def test_names_that_are_none(name: str) -> None:
    """They are refused where they come in, and the message names the place but no value."""
    assert not variables.is_name(name)
    with pytest.raises(InvalidInput, match=r"^env: ") as found:
        variables.check({name: "secret"}, "env")
    assert "secret" not in str(found.value)
    request = protocol.CreateRequest(app="a", node="n", process_type="t", source_url="http://x/y", env={name: "secret"})
    with pytest.raises(InvalidInput, match="no name of an environment variable"):
        protocol.check(request)


@pytest.mark.parametrize("value", ["\0", "a\0b", "\ud800"])
def test_values_that_are_none(value: str) -> None:
    """No program can get a NUL or half a character."""
    with pytest.raises(InvalidInput, match=r"^env\.A: "):
        variables.check({"A": value}, "env")


def test_what_is_taken_everywhere() -> None:
    """A request, a Procfile and a .env file take the same names; bytes that are no UTF-8 may stand in values."""
    variables.check({"A_1": "", "_": "x y", "a": "\udcff"}, "env")
    assert envfile.parse(b"A_1=x\n_=y\n") == {"A_1": "x", "_": "y"}
    assert procfile.parse(b"web: A_1=x _=y run\n")["web"].environment({}) == {"A_1": "x", "_": "y"}


@pytest.mark.parametrize("name", ["", "A=B", "A\0", "\ud800"])
def test_the_last_look_before_a_start(name: str) -> None:
    """Names that no system takes are refused before a keeper is told."""
    with pytest.raises(SpawnFailed):
        Spec(["true"], {name: "x"}, Path("/"), 0, 0, 0).encode()
