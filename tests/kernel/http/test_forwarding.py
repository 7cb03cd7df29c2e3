"""The headers of trusted proxies: which entry is believed, and which is the client's own invention."""

from __future__ import annotations

import pytest
from multidict import CIMultiDict, CIMultiDictProxy

from smartmob.errors import SettingsError
from smartmob.kernel.http.forwarding import FORWARDED, X_FORWARDED_FOR, ForwardedClient, TrustedProxies

PROXY, OUTER = "10.0.0.2", "192.0.2.1"
TRUSTED = ("10.0.0.0/8", OUTER, "2001:db8:1::/48")


def _client(peer: str | None, *lines: tuple[str, str], header: str = X_FORWARDED_FOR) -> ForwardedClient | None:
    return TrustedProxies(TRUSTED, header).client(peer, CIMultiDictProxy(CIMultiDict(lines)))


def _address(value: str, header: str = X_FORWARDED_FOR) -> str:
    name = "Forwarded" if header == FORWARDED else "X-Forwarded-For"
    found = _client(PROXY, (name, value), header=header)
    assert found is not None
    return found.address


@pytest.mark.parametrize("peer", [None, "", "192.0.2.2", "11.0.0.1", "::1", "unix:", "10.0.0"])
def test_headers_of_others_are_not_read(peer: str | None) -> None:
    """A connection that is not from a trusted proxy cannot claim another address, scheme or host."""
    lines = (("X-Forwarded-For", "192.0.2.9"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Host", "a"))
    assert _client(peer, *lines) is None


def test_without_trusted_proxies_no_header_is_read() -> None:
    """Not even a connection from loopback is believed unless it is listed."""
    headers = CIMultiDictProxy(CIMultiDict({"X-Forwarded-For": "192.0.2.9"}))
    assert TrustedProxies().client("127.0.0.1", headers) is None


def test_only_the_header_that_the_proxies_write_is_read() -> None:
    """The other header comes from the client, since these proxies do not write it."""
    lines = (("X-Forwarded-For", "198.51.100.7"), ("Forwarded", "for=203.0.113.1"))
    x_forwarded, forwarded = _client(PROXY, *lines), _client(PROXY, *lines, header=FORWARDED)
    assert x_forwarded is not None
    assert forwarded is not None
    assert (x_forwarded.address, forwarded.address) == ("198.51.100.7", "203.0.113.1")


@pytest.mark.parametrize(
    ("schemes", "expected"),
    [
        ("https", "https"),
        ("HTTPS", "https"),
        ("wss", "https"),
        ("ws", "http"),
        ("http", "http"),
        ("javascript", None),
        ("", None),
        ("http, https, http", "https"),  # the outer proxy terminates TLS, and the client sent the first one
        ("https, http", "https"),
    ],
)
def test_the_scheme_is_that_of_the_same_entry(schemes: str, expected: str | None) -> None:
    """A list of schemes is read at the place of the address, a single one counts for all places."""
    found = _client(PROXY, ("X-Forwarded-For", f"203.0.113.1, 198.51.100.7, {OUTER}"), ("X-Forwarded-Proto", schemes))
    assert found == ForwardedClient("198.51.100.7", expected)


def test_scheme_and_host_of_rfc_7239() -> None:
    """They are parameters of the client's own element."""
    value = 'for=198.51.100.7;proto=https;host="lab.example:8443", for=192.0.2.1;proto=http;host=inner'
    expected = ForwardedClient("198.51.100.7", "https", "lab.example:8443")
    assert _client(PROXY, ("Forwarded", value), header=FORWARDED) == expected


@pytest.mark.parametrize("text", ["proxy.example", "10.0.0.1/8", "10.0.0.0/33", "*", "10.0.0.1:80", ""])
def test_a_network_that_is_none_is_refused_at_the_start(text: str) -> None:
    """A name, a network with bits of a host, or a star is an error that says what is expected."""
    with pytest.raises(SettingsError, match="--trusted-proxy: expected an address or a network"):
        TrustedProxies([text])
