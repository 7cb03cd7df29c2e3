"""Failures of transactions and timers: the text, the kind and the code of an exception of a script. No I/O."""

from __future__ import annotations

import errno
from typing import NamedTuple

LONGEST_CODE = 40
"""Characters of a code."""

_STATUS_NAMES = ("status", "status_code", "code")
"""Attributes with the HTTP status of an answer, in the exceptions of aiohttp, httpx, requests and urllib."""
_LONGEST_CHAIN = 5  # exceptions that caused each other


class Failure(NamedTuple):
    """A failure. `kind` is the class of the exception, `code` an HTTP status or the name of an errno, or "".

    An `untimed` failure happened outside of `run`, so that it has no duration.
    """

    text: str
    kind: str = ""
    code: str = ""
    untimed: bool = False


def describe(error: BaseException) -> str:
    """Return the text of an exception, or the name of its class when the text is empty."""
    try:
        return str(error) or type(error).__name__
    except Exception:
        return type(error).__name__  # the method __str__ of the script failed


def failure_of(error: BaseException, step: str = "") -> Failure:
    """Return the failure that an exception means; `step` is the untimed step that raised it, or ""."""
    text = f"{step}: {describe(error)}" if step else describe(error)
    return Failure(text, type(error).__name__, _code(error), untimed=bool(step))


def _code(error: BaseException) -> str:
    """Return the HTTP status or the name of the errno of an exception, or of an exception that caused it."""
    found: object = error
    for _ in range(_LONGEST_CHAIN):
        for holder in (found, _read(found, "response")):
            for name in _STATUS_NAMES:
                value = _read(holder, name)
                if isinstance(value, int) and not isinstance(value, bool) and 100 <= value <= 599:
                    return str(int(value))
        number = _read(found, "errno")
        if isinstance(number, int) and number in errno.errorcode:
            return errno.errorcode[number]
        if isinstance(found, TimeoutError):
            return "timeout"
        code = _read(found, "code")
        if isinstance(code, str) and 0 < len(code) <= LONGEST_CODE and code.isprintable():
            return code
        found = next(
            (part for name in ("reason", "__cause__") if isinstance(part := _read(found, name), Exception)), None
        )
        if found is None:
            return ""
    return ""


def _read(holder: object, name: str) -> object:
    """Return an attribute, or None when there is none or reading it fails."""
    try:
        return getattr(holder, name, None)
    except Exception:
        return None
