"""Errors of commands as clients receive them: the name of a built-in exception, and the name of an HTTP problem."""

from __future__ import annotations

import os
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
"""The HTTP problems of built-in exceptions. The first matching class counts, so subclasses come first."""

_EXCEPTION_FOR: dict[str, type[BaseException]] = {
    "invalid-input": TypeError,
    "not-found": LookupError,
    "not-allowed": PermissionError,
}
"""The built-in exceptions that clients receive for exceptions of our own, by HTTP problem."""


def problem_name(error: BaseException) -> str:
    """Return the name of the HTTP problem that `error` matches."""
    if isinstance(error, SmartmobError):
        return problems.name_of(error)[1]
    return next((name for kind, name in _PROBLEMS if isinstance(error, kind)), "internal")


def serialise(error: BaseException) -> Failure:
    """Return `error` as it is sent to clients. Arguments that JSON cannot represent become texts."""
    if isinstance(error, OSError) and isinstance(error.filename, bytes):
        error = OSError(error.errno, error.strerror, os.fsdecode(error.filename))
    arguments: Sequence[Any] = error.args
    if isinstance(error, OSError) and isinstance(error.errno, int):
        names = () if error.filename is None else (str(error.filename),)
        arguments = (error.errno, error.strerror or "", *names)
    plain = [value if isinstance(value, str | int | float | bool | None) else str(value) for value in arguments]
    kind = next(kind for kind in type(error).__mro__ if kind.__module__ == "builtins")
    if kind in (Exception, BaseException, object):
        kind = _EXCEPTION_FOR.get(problem_name(error), RuntimeError)
    return Failure(kind.__name__, str(error) or kind.__name__, plain, problem_name(error))


def as_builtin(error: BaseException) -> BaseException:
    """Return the built-in exception for InvalidInput or NotFound, as conplyent's server raises it; else `error`."""
    if isinstance(error, InvalidInput):
        return TypeError(str(error))
    return LookupError(str(error)) if isinstance(error, NotFound) else error
