"""Failures: texts, kinds and codes of the exceptions of scripts."""

from __future__ import annotations

import urllib.error
from email.message import Message
from types import SimpleNamespace

import pytest

from smartmob.turrets.turret.failure import Failure, describe, failure_of
from smartmob.turrets.turret.http_client import HttpError


class _WithResponse(Exception):
    """Like the error of a client whose answer is an attribute."""

    response = SimpleNamespace(status_code=404)


class _Broken(Exception):
    """An exception whose methods fail."""

    def __str__(self) -> str:
        raise ValueError

    @property
    def status(self) -> int:
        raise KeyError


def _caused(error: BaseException, cause: BaseException) -> BaseException:
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "kind", "code"),
    [
        (ValueError("boom"), "ValueError", ""),
        (urllib.error.HTTPError("http://x", 503, "no", Message(), None), "HTTPError", "503"),
        (urllib.error.URLError(ConnectionRefusedError(111, "refused")), "URLError", "ECONNREFUSED"),
        (_WithResponse("x"), "_WithResponse", "404"),
        (HttpError("HTTP 500", "500"), "HttpError", "500"),
        (TimeoutError(), "TimeoutError", "timeout"),
        (_caused(RuntimeError("x"), OSError(104, "reset")), "RuntimeError", "ECONNRESET"),
        (SystemExit(3), "SystemExit", ""),
        (_Broken(), "_Broken", ""),
    ],
    ids=["plain", "urllib", "refused", "response", "http", "timeout", "cause", "exit", "broken"],
)
def test_a_failure_has_the_class_and_code_of_its_error(error: BaseException, kind: str, code: str) -> None:
    """The class of the exception, and the status or errno that it or its cause has."""
    found = failure_of(error)
    assert (found.kind, found.code, found.untimed) == (kind, code, False)


def test_an_untimed_step_is_named() -> None:
    """A failure outside of `run` has no duration."""
    assert failure_of(ValueError("boom"), "setup") == Failure("setup: boom", "ValueError", "", untimed=True)


def test_an_exception_without_text() -> None:
    """Its class is its text, also when its own method fails."""
    assert (describe(ValueError()), describe(_Broken())) == ("ValueError", "_Broken")
