"""Errors of commands on their way to clients."""

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
def test_they_arrive(error: BaseException, kind: type, problem: str) -> None:
    """The client gets an exception of Python's own of the same kind, with the same text and the problem's name."""
    sent = error_serialisation.serialise(error)
    found = exception(sent)

    assert (type(found), sent.problem) == (kind, problem)
    assert str(found) == str(error)


@pytest.mark.parametrize(
    ("error", "kind"),
    [(InvalidInput("x"), TypeError), (NotFound("x"), LookupError), (OSError(2, "x"), FileNotFoundError)],
)
def test_for_the_stock_wire(error: Any, kind: type) -> None:
    """Errors of ours become those that the stock server raises."""
    assert type(error_serialisation.as_builtin(error)) is kind
