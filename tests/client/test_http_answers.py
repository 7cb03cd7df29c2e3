"""Answers of servers: their limits, and the reasons of failures in words."""

from __future__ import annotations

import errno
import socket
import ssl

import pytest

from smartmob.client import http_answers
from smartmob.client.limits import LIMITS
from smartmob.errors import RemoteError


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (ConnectionRefusedError(errno.ECONNREFUSED, "Connect call failed ('127.0.0.1', 1)"), "Connection refused"),
        (socket.gaierror(-2, "Name or service not known"), "Name or service not known"),
        (ssl.SSLError(1, "unexpected eof"), "unexpected eof"),
        (TimeoutError(), "no answer in time"),
        (UnicodeError("label too long"), "the name of the machine is not valid"),
    ],
)
def test_reasons_have_no_addresses(error: OSError | UnicodeError, said: str) -> None:
    """The reason is that of the system, without the addresses that asyncio adds."""
    assert http_answers.os_reason(error) == said


def test_answers_beyond_their_limits_are_refused() -> None:
    """Lines and answers beyond their limits are refused, and texts that are not JSON."""
    with pytest.raises(RemoteError, match="a line of more than"):
        http_answers.check_line(bytearray(LIMITS.line_bytes + 1))
    with pytest.raises(RemoteError, match="more than 3 bytes"):
        http_answers.counted(2, b"xx", 3)
    with pytest.raises(RemoteError, match="not JSON"):
        http_answers.json_of("<html>")


def test_a_broken_connection_has_a_reason() -> None:
    """An error without a text has the name of its type, and silence is told in words."""
    assert http_answers.reason_of(ConnectionResetError()) == "ConnectionResetError"
    assert http_answers.reason_of(TimeoutError()) == "the server said nothing for too long"
