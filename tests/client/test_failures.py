"""Errors of the server as exceptions of the client."""

from __future__ import annotations

import pytest

from smartmob.client.failures import ClientError, ClientTimeout, NotConnected, exception
from smartmob.commands.model import Failure
from smartmob.errors import RemoteError


def test_what_a_script_catches() -> None:
    """A timeout is a ClientError, a missing connection a ConnectionError as well, and all are RemoteErrors."""
    assert issubclass(ClientTimeout, ClientError)
    assert issubclass(NotConnected, ClientError)
    assert issubclass(NotConnected, ConnectionError)
    assert issubclass(ClientError, RuntimeError)
    assert issubclass(ClientError, RemoteError)


@pytest.mark.parametrize(
    ("failure", "kind", "text"),
    [
        (
            Failure("FileNotFoundError", "x", [2, "No such file", "/x"]),
            FileNotFoundError,
            "[Errno 2] No such file: '/x'",
        ),
        (Failure("KeyError", "'x'", ["x"]), KeyError, "'x'"),
        (Failure("NoSuchClass", "why", ["why"]), ClientError, "why"),
        (Failure("UnicodeDecodeError", "cannot", ["cannot"]), ClientError, "UnicodeDecodeError: cannot"),
        (Failure("print", "x", ["x"]), ClientError, "x"),
        (Failure("SystemExit", "x", ["x"]), ClientError, "x"),
    ],
)
def test_only_exceptions_of_python_are_restored_by_name(failure: Failure, kind: type, text: str) -> None:
    """Python's own are what they were there; nothing else is made from a name."""
    found = exception(failure)
    assert (type(found), str(found)) == (kind, text)
