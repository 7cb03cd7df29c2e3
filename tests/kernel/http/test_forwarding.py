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


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("198.51.100.7", "198.51.100.7"),
        ("203.0.113.1, 198.51.100.7", "198.51.100.7"),  # the client sent the first one itself
        ("10.0.0.9, 198.51.100.7", "198.51.100.7"),  # also if it names a trusted proxy
        (f"203.0.113.1, 198.51.100.7, {OUTER}, 10.1.1.1", "198.51.100.7"),
        (f"{OUTER}, 10.1.1.1", OUTER),  # a request that a proxy made itself
        ("198.51.100.7:4711", "198.51.100.7"),  # Azure adds the port
        ("[2001:db8::7]:4711", "2001:db8::7"),
        ("2001:db8::7", "2001:db8::7"),
        ("::ffff:198.51.100.7", "198.51.100.7"),
        ("2001:db8:1::5", "2001:db8:1::5"),
        ("198.51.100.7,, ", "198.51.100.7"),
        ("", PROXY),
        ("unknown", PROXY),
        ("198.51.100.7, unix:", PROXY),
        ("198.51.100.7, _hidden, 10.1.1.1", "10.1.1.1"),
        ("198.51.100.7 203.0.113.1", PROXY),
        ("0x7f.1", PROXY),
        ("203.0.113.1, " * 2_000 + "198.51.100.7", "198.51.100.7"),
        ("203.0.113.1, " + "10.0.0.9, " * 2_000 + "10.0.0.8", "10.0.0.9"),  # no more than 32 entries are read
    ],
)
def test_the_last_untrusted_address_is_the_client(value: str, expected: str) -> None:
    """Entries are read from the end, where proxies add them, up to the first that is no trusted proxy."""
    assert _address(value) == expected


def test_several_lines_are_one_list() -> None:
    """A client's own line stands before that of the proxy."""
    found = _client(PROXY, ("X-Forwarded-For", "203.0.113.1"), ("X-Forwarded-For", f"198.51.100.7, {OUTER}"))
    assert found is not None
    assert found.address == "198.51.100.7"


@pytest.mark.parametrize("header", [X_FORWARDED_FOR, FORWARDED])
def test_of_a_long_chain_of_proxies_only_the_last_entries_are_read(header: str) -> None:
    """A client cannot make the service parse thousands of addresses; ordinary chains have a few."""
    entry = "for={}" if header == FORWARDED else "{}"
    for length, expected in ((31, "198.51.100.7"), (32, PROXY), (150, PROXY)):
        value = ", ".join(entry.format(address) for address in ["198.51.100.7", *[PROXY] * length])
        assert _address(value, header) == expected


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("for=198.51.100.7", "198.51.100.7"),
        ('For="[2001:db8::7]:4711";proto=https', "2001:db8::7"),
        ("for=203.0.113.1, for=198.51.100.7;by=10.0.0.2", "198.51.100.7"),
        (f"for=198.51.100.7 , for={OUTER}", "198.51.100.7"),
        (r'for="198.51\.100.7"', "198.51.100.7"),
        ('for="198.51.100.7:80"', "198.51.100.7"),
        ("for=unknown", PROXY),
        ("for=_secret, for=10.1.1.1", "10.1.1.1"),
        ("proto=https", PROXY),
        ("", PROXY),
        # A client that opens a quotation mark, or leaves one open, to swallow the entry of the proxy.
        ('for=203.0.113.1;x=", for="[2001:db8::7]"', PROXY),
        ('for=203.0.113.1;x=", for=198.51.100.7', PROXY),
        ('for=203.0.113.1, for=", for="[2001:db8::7]"', PROXY),
        ('for=203.0.113.1;x="\\", for="[2001:db8::7]"', PROXY),
        ("for=203.0.113.1;for=198.51.100.7", PROXY),
        ("for=203.0.113.1 for=198.51.100.7", PROXY),
        ("for=203.0.113.1, " * 2_000 + "for=198.51.100.7", PROXY),  # longer than is parsed
    ],
)
def test_the_header_of_rfc_7239_is_read_strictly(value: str, expected: str) -> None:
    """A `Forwarded` that is malformed anywhere tells nothing, and the client has the proxy's address."""
    assert _address(value, FORWARDED) == expected


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
