"""The exceptions: what they say."""

from __future__ import annotations

import inspect

import pytest

from smartmob import errors

ALL = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, errors.SmartmobError)]


@pytest.mark.parametrize("kind", ALL)
def test_the_docstring_is_the_message(kind: type[errors.SmartmobError]) -> None:
    """An error that is raised without a message says what its class means."""
    assert kind.__doc__
    assert str(kind()) == kind.__doc__.strip()


@pytest.mark.parametrize("kind", ALL)
def test_a_message_of_its_own_counts(kind: type[errors.SmartmobError]) -> None:
    """A given message replaces the docstring."""
    assert str(kind("the disk is full")) == "the disk is full"


@pytest.mark.parametrize("kind", ALL)
def test_every_error_is_ours(kind: type[errors.SmartmobError]) -> None:
    """One except clause catches all of them, and no error of Python or of a library."""
    assert issubclass(kind, errors.SmartmobError)
    assert kind.__mro__[-3:] == (Exception, BaseException, object)


def test_a_bad_field_is_named() -> None:
    """The refusal of one field carries its place and its fault, and says both."""
    error = errors.InvalidInput.at("$.run_date", "this is no date")

    assert str(error) == "$.run_date: this is no date"
    assert error.faults == (errors.Fault("$.run_date", "this is no date"),)


def test_a_bad_field_of_a_subclass() -> None:
    """A subclass makes errors of its own kind."""
    assert type(errors.TooLarge.at("$", "long")) is errors.TooLarge


def test_what_further_is_known() -> None:
    """The time to try again and the status of a server travel with the error."""
    assert errors.Unavailable("later").retry_after == 1.0
    assert errors.Unavailable("later", retry_after=7).retry_after == 7
    assert errors.RemoteError("no").status is None
    assert errors.RemoteError("no", 503).status == 503


@pytest.mark.parametrize("kind", [errors.SettingsError, errors.DatabaseError])
def test_what_stops_the_start(kind: type[errors.SmartmobError]) -> None:
    """The command line tells errors of the start from others by one class."""
    assert issubclass(kind, errors.StartupError)
