"""The exceptions and their messages."""

from __future__ import annotations

import inspect

import pytest

from smartmob import errors

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.SmartmobError)]


@pytest.mark.parametrize("kind", ALL)
def test_the_docstring_is_the_message(kind: type[errors.SmartmobError]) -> None:
    """The message of an error without an argument is the docstring of its class."""
    assert kind.__doc__
    assert str(kind()) == kind.__doc__.strip()


@pytest.mark.parametrize("kind", ALL)
def test_a_given_message_replaces_the_docstring(kind: type[errors.SmartmobError]) -> None:
    """A given message replaces the docstring."""
    assert str(kind("the disk is full")) == "the disk is full"


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_a_smartmob_error(kind: type[errors.SmartmobError]) -> None:
    """One except clause catches all of them, and no error of Python or of a library."""
    assert issubclass(kind, errors.SmartmobError)
    assert kind.__mro__[-3:] == (Exception, BaseException, object)


def test_the_error_of_a_field_has_its_path_and_message() -> None:
    """The error of one field has its path and its fault, and its message has both."""
    error = errors.InvalidInput.at("$.run_date", "this is no date")

    assert str(error) == "$.run_date: this is no date"
    assert error.faults == (errors.Fault("$.run_date", "this is no date"),)


def test_a_subclass_makes_errors_of_its_own_type() -> None:
    """`at` of a subclass returns an error of the subclass."""
    assert type(errors.TooLarge.at("$", "long")) is errors.TooLarge


def test_errors_carry_retry_after_and_status() -> None:
    """Unavailable carries the time to wait, and RemoteError the status of the server."""
    assert errors.Unavailable("later").retry_after == 1.0
    assert errors.Unavailable("later", retry_after=7).retry_after == 7
    assert errors.RemoteError("no").status is None
    assert errors.RemoteError("no", 503).status == 503


@pytest.mark.parametrize("kind", [errors.SettingsError, errors.DatabaseError])
def test_errors_of_the_start_have_one_base_class(kind: type[errors.SmartmobError]) -> None:
    """The command line recognises errors of the start by one class."""
    assert issubclass(kind, errors.StartupError)


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (FileNotFoundError(2, "No such file or directory", "x/y"), "x/y: No such file or directory"),
        (OSError(28, "No space left on device"), "No space left on device"),
        (OSError(2, "No such file or directory", b"x\xff"), "x\ufffd: No such file or directory"),
        (OSError("only a text"), "only a text"),
        (errors.Conflict("taken"), "taken"),
        (ValueError("wrong"), "wrong"),
    ],
)
def test_an_error_of_the_operating_system_is_written_as_by_other_programs(error: Exception, message: str) -> None:
    """The file comes first, without the number of the error; other messages stay."""
    assert errors.message_of(error) == message
