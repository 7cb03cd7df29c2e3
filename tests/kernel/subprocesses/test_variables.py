"""The rule for environment variables, which is the same for requests, Procfiles and .env files."""

from __future__ import annotations

from pathlib import Path

import pytest

from smartmob.errors import InvalidInput
from smartmob.kernel.subprocesses import variables
from smartmob.kernel.subprocesses.child import SpawnFailed, Spec
from smartmob.processes import protocol
from smartmob.processes.preparation import envfile

BAD = ["", "=", "A=B", "A\0", "1A", "a b", "a-b", "é", "A\n", "\ud800"]


@pytest.mark.parametrize("name", BAD)
def test_wrong_names_are_refused_without_the_value(name: str) -> None:
    """The message has the name of the field, and no value."""
    assert not variables.is_name(name)
    with pytest.raises(InvalidInput, match=r"^env: ") as found:
        variables.check({name: "secret"}, "env")
    assert "secret" not in str(found.value)
    request = protocol.CreateRequest(app="a", node="n", process_type="t", source_url="http://x/y", env={name: "secret"})
    with pytest.raises(InvalidInput, match="not a valid name of an environment variable"):
        protocol.check(request)


@pytest.mark.parametrize("value", ["\0", "a\0b", "\ud800"])
def test_values_with_a_nul_or_half_a_character_are_refused(value: str) -> None:
    """The system cannot pass them to a program."""
    with pytest.raises(InvalidInput, match=r"^env\.A: "):
        variables.check({"A": value}, "env")


def test_requests_and_env_files_take_the_same_names() -> None:
    """Values may hold bytes that are not UTF-8."""
    variables.check({"A_1": "", "_": "x y", "a": "\udcff"}, "env")
    assert envfile.parse(b"A_1=x\n_=y\n") == {"A_1": "x", "_": "y"}


@pytest.mark.parametrize("name", ["", "A=B", "A\0", "\ud800"])
def test_a_wrong_name_is_refused_before_the_start(name: str) -> None:
    """The specification is not sent to a subreaper."""
    with pytest.raises(SpawnFailed):
        Spec(["true"], {name: "x"}, Path("/"), 0, 0, 0).encode()
