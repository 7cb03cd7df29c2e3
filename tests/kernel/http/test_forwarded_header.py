"""The entries of the headers of reverse proxies."""

from __future__ import annotations

import pytest

from smartmob.kernel.http.forwarding import FORWARDED, X_FORWARDED_FOR
from tests.kernel.http.test_forwarding import OUTER, PROXY, _address, _client


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
