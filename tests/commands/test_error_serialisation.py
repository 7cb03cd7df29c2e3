"""Errors of commands as clients receive them."""

from __future__ import annotations

from typing import Any

import pytest

from smartmob.client.failures import exception
from smartmob.commands import error_serialisation
from smartmob.errors import Conflict, InvalidInput, NotAllowed, NotFound, SmartmobError


class _Own(ValueError):
    """A class that no client knows."""


@pytest.mark.parametrize(
    ("error", "kind", "problem"),
    [
        (FileNotFoundError(2, "No such file", "/x"), FileNotFoundError, "not-found"),
        (PermissionError(13, "Permission denied", "/x"), PermissionError, "not-allowed"),
        (FileExistsError(17, "File exists"), FileExistsError, "conflict"),
        (ValueError("bad", 1), ValueError, "invalid-input"),
        (_Own("mine"), ValueError, "invalid-input"),
        (ZeroDivisionError("no"), ZeroDivisionError, "internal"),
        (NotFound("no job"), LookupError, "not-found"),
        (InvalidInput("bad"), TypeError, "invalid-input"),
        (NotAllowed("off"), PermissionError, "not-allowed"),
        (Conflict("busy"), RuntimeError, "conflict"),
        (SmartmobError("what"), RuntimeError, "internal"),
    ],
)
def test_a_client_gets_a_builtin_exception_of_the_same_kind(error: BaseException, kind: type, problem: str) -> None:
    """It has the same text and the name of the HTTP problem."""
    sent = error_serialisation.serialise(error)
    found = exception(sent)

    assert (type(found), sent.problem) == (kind, problem)
    assert str(found) == str(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(InvalidInput("x"), TypeError), (NotFound("x"), LookupError), (OSError(2, "x"), FileNotFoundError)],
)
def test_our_errors_become_those_of_conplyents_server(error: Any, kind: type) -> None:
    """Built-in exceptions do not change."""
    assert type(error_serialisation.as_builtin(error)) is kind
