"""Errors of commands as they travel to clients: Python's own by their name, each with the kind of problem it is."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from smartmob.commands.model import Failure
from smartmob.errors import InvalidInput, NotFound, SmartmobError
from smartmob.kernel.http import problems

_PROBLEMS: tuple[tuple[type[BaseException], str], ...] = (
    (FileNotFoundError, "not-found"),
    (ProcessLookupError, "not-found"),
    (PermissionError, "not-allowed"),
    (FileExistsError, "conflict"),
    (OSError, "invalid-input"),
    (ValueError, "invalid-input"),
    (TypeError, "invalid-input"),
    (LookupError, "invalid-input"),
)


def name_of(error: BaseException) -> str:
    """Return the name of the problem that `error` is."""
    if isinstance(error, SmartmobError):
        return problems.name_of(error)[1]
    return next((name for kind, name in _PROBLEMS if isinstance(error, kind)), "internal")


def travelling(error: BaseException) -> Failure:
    """Return `error` as it is sent: arguments that JSON does not have become texts."""
    given: Sequence[Any] = error.args
    if isinstance(error, OSError) and isinstance(error.errno, int):
        named = () if error.filename is None else (str(error.filename),)
        given = (error.errno, error.strerror or "", *named)
    simple = [value if isinstance(value, str | int | float | bool | None) else str(value) for value in given]
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
    if kind in (Exception, BaseException, object):
        kind = _STANDS_FOR.get(name_of(error), RuntimeError)
    return Failure(kind.__name__, str(error) or kind.__name__, simple, name_of(error))


def native(error: BaseException) -> BaseException:
    """Return an error of ours as the one of Python's that says the same; others stay as they are."""
    if isinstance(error, InvalidInput):
        return TypeError(str(error))
    return LookupError(str(error)) if isinstance(error, NotFound) else error


_STANDS_FOR: dict[str, type[BaseException]] = {
    "invalid-input": TypeError,
    "not-found": LookupError,
    "not-allowed": PermissionError,
}
