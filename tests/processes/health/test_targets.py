"""The addresses in the texts of checks."""

from __future__ import annotations

import pytest

from smartmob.processes.health import targets


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("/health", "http://localhost:5000/health"),
        ("/p?a=$PORT", "http://localhost:5000/p?a=5000"),
        ("http://127.0.0.1:${PORT}/", "http://127.0.0.1:5000/"),
        ("https://[::1]:8443/x", "https://[::1]:8443/x"),
        ("http://db/$PORTS", "http://db/$PORTS"),
    ],
)
def test_a_path_is_one_of_the_program(text: str, url: str) -> None:
    """The port of the program can stand anywhere."""
    assert targets.url(text, "5000") == url


@pytest.mark.parametrize(
    "text", ["health", "ftp://host/", "http://", "http://a:99999/", "/a b", "/a\r\nX: y", "http://[1/"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    """The message names it in one line."""
    with pytest.raises(ValueError, match=r"^http '[^\n]*$"):
        targets.url(text, "5000")


@pytest.mark.parametrize(
    ("target", "address"),
    [
        (5432, ("localhost", 5432)),
        ("$PORT", ("localhost", 5000)),
        ("db.lab:$PORT", ("db.lab", 5000)),
        ("[::1]:80", ("::1", 80)),
        (":80", ("localhost", 80)),
    ],
)
def test_a_port_may_have_a_host(target: int | str, address: tuple[str, int]) -> None:
    """Without one it is the machine of the service, by IPv4 and IPv6."""
    assert targets.address(target, "5000") == address


@pytest.mark.parametrize(
    "target", [0, -1, 65536, "", "db", "db:", "::1:80", "host :80", "1" * 5000, "٣", "$PORT:1", "5000:1"]
)
def test_what_is_no_port_is_refused(target: int | str) -> None:
    """The message says what is expected."""
    with pytest.raises(ValueError, match=r"^tcp "):
        targets.address(target, "5000")
