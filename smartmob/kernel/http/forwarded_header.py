"""The entries of the headers X-Forwarded-For and Forwarded (RFC 7239) that reverse proxies add."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterator
from itertools import chain

import msgspec
from multidict import CIMultiDictProxy

MAX_ENTRIES = 32  # entries that are read, from the end of a header; chains of proxies have a few
_MAX_FORWARDED_CHARACTERS = 4_096  # of the header Forwarded, which must be parsed from its beginning
_WORD = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_PAIR = re.compile(rf'[ \t]*({_WORD})=(?:({_WORD})|"((?:[^"\\]|\\.)*)")[ \t]*([;,]|$)')
"""A parameter of the header Forwarded with what ends it (RFC 7239, section 4)."""

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


class ForwardedEntry(msgspec.Struct, frozen=True):
    """The peer of one proxy, as that proxy describes it."""

    address: str
    scheme: str = ""
    host: str = ""


def x_forwarded_entries(headers: CIMultiDictProxy[str]) -> Iterator[ForwardedEntry]:
    """Yield the entries of `X-Forwarded-For`, the last one first.

    Schemes and hosts stand at the same positions of their own lists. A shorter list was replaced by a proxy: its first
    value counts for all entries before it.
    """
    schemes, hosts = _values(headers, "X-Forwarded-Proto"), _values(headers, "X-Forwarded-Host")
    scheme, host = "", ""
    for address in _values(headers, "X-Forwarded-For"):
        scheme, host = next(schemes, scheme), next(hosts, host)
        yield ForwardedEntry(address, scheme, host)


def _values(headers: CIMultiDictProxy[str], name: str) -> Iterator[str]:
    """Yield the values of a list, the last one first; only the end of a long line is split."""
    lines = reversed(headers.getall(name, []))
    return chain.from_iterable(
        (value.strip() for value in reversed(line.rsplit(",", MAX_ENTRIES)) if value.strip()) for line in lines
    )


def forwarded_entries(headers: CIMultiDictProxy[str]) -> Iterator[ForwardedEntry]:
    """Yield the entries of `Forwarded` (RFC 7239), the last one first, or none if any part of it is malformed.

    An open quotation mark of a client would swallow the entries that proxies add after it.
    """
    for element in reversed(_elements(headers)):
        yield ForwardedEntry(element.get("for", ""), element.get("proto", ""), element.get("host", ""))


def _elements(headers: CIMultiDictProxy[str]) -> list[dict[str, str]]:
    """Return the parameters of each element of `Forwarded`, or [] if any part of it is malformed."""
    text = ",".join(headers.getall("Forwarded", []))
    elements: list[dict[str, str]] = [{}]
    at = 0
    while at < len(text) <= _MAX_FORWARDED_CHARACTERS:
        match = _PAIR.match(text, at)
        if match is None or match[1].lower() in elements[-1]:
            return []
        value = match[2] if match[3] is None else re.sub(r"\\(.)", r"\1", match[3])
        elements[-1][match[1].lower()] = value
        if match[4] == ",":
            elements.append({})
        at = match.end()
    return elements


def address_of(text: str) -> Address | None:
    """Return the IP address in an entry, without its port, or None; an IPv4 address in an IPv6 one as IPv4."""
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return (address.ipv4_mapped or address) if isinstance(address, ipaddress.IPv6Address) else address
