"""Downloading a source: an http or https address streamed to a file, within limits of size and patience."""

from __future__ import annotations

import asyncio
import errno
import hashlib
import ipaddress
import os
import socket
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from http import HTTPStatus
from pathlib import Path
from typing import Any, BinaryIO

import aiohttp
from aiohttp.abc import AbstractResolver
from yarl import URL

from smartmob import __version__
from smartmob.errors import SmartmobError, TooLarge
from smartmob.kernel.runtime.disk import Floor, check_free

Progress = Callable[[int, int | None], None]
"""Is told the bytes that have come and, where the server says it, how many there will be."""

_SCHEMES = ("http", "https")
_METADATA = frozenset(
    map(ipaddress.IPv4Address, ("169.254.169.254", "168.63.129.16", "192.0.0.192", "100.100.100.200"))
)
"""Metadata addresses by IPv4: of most clouds, Azure, Oracle's older machines, and Alibaba."""
_METADATA_NETWORKS = tuple(
    map(ipaddress.IPv6Network, ("fd00:ec2::/32", "fd20:ce::/32", "fd00:c1::/32", "fd00:42::/32", "fec0::/10"))
)
"""Metadata addresses of Amazon, Google, Oracle and Scaleway by IPv6, and the retired site-local addresses."""
_TRANSLATED = ipaddress.IPv6Network("64:ff9b::/96")
_TRANSLATED_LOCALLY = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_WRITE_FROM = 512 * 1024
_REDIRECTS = (
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
)


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """What a download may cost: bytes, seconds to connect, seconds without a byte, seconds in all, redirects.

    `least_free` are the bytes of the disk that it leaves free.
    """

    bytes: int = 1024**3
    connect_seconds: float = 10.0
    stall_seconds: float = 30.0
    total_seconds: float = 3600.0
    redirects: int = 5
    least_free: int = 0


class DownloadError(SmartmobError):
    """The source cannot be downloaded."""


class NotModified(DownloadError):
    """The source is what it was."""


@dataclass(frozen=True, slots=True)
class Version:
    """What a server calls the version of what it sends: the entity tag (RFC 9110) of an address, redirects followed."""

    address: str
    tag: str


@dataclass(frozen=True, slots=True)
class Stored:
    """What was written: the SHA-256 in hexadecimal digits, and the bytes; the version, if there is a name for it."""

    digest: str
    size: int
    version: Version | None = field(default=None, compare=False)


class _Forbidden(OSError):
    """The address is one that no source is downloaded from."""


def _connect_to(address: tuple[Any, ...]) -> socket.socket:
    """Return a socket for an address that a name stands for; raises _Forbidden.

    It is the address itself that is looked at, right before the connection: no name and no redirect gets round it.
    """
    family, kind, protocol, _, place = address
    if is_forbidden(str(place[0])):
        raise _Forbidden(errno.EACCES, "link-local addresses and others where clouds keep their secrets are not asked")
    return socket.socket(family, kind, protocol)


def is_forbidden(host: str) -> bool:
    """Return whether an address is link-local, or another one at which a cloud tells machines their secrets.

    An IPv6 address is also looked at as the IPv4 addresses that it stands for.
    """
    address = ipaddress.ip_address(host.partition("%")[0])
    if isinstance(address, ipaddress.IPv4Address):
        return address.is_link_local or address in _METADATA
    if address.is_link_local or any(address in network for network in _METADATA_NETWORKS):
        return True
    # The prefix of a translator may be any; the IPv4 address is then mostly at the end.
    return ipaddress.IPv4Address(int(address) & 0xFFFF_FFFF) in _METADATA or any(
        inner.is_link_local or inner in _METADATA for inner in _embedded(address)
    )


def _embedded(address: ipaddress.IPv6Address) -> list[ipaddress.IPv4Address]:
    """Return the IPv4 addresses for which an IPv6 address stands: mapped, translated (NAT64), tunnelled."""
    number = int(address)
    found = [address.ipv4_mapped, address.sixtofour, *(address.teredo or ())]
    if address in _TRANSLATED or address in _COMPATIBLE:
        found.append(ipaddress.IPv4Address(number & 0xFFFF_FFFF))
    if address in _TRANSLATED_LOCALLY:
        # RFC 6052: the eight bits from the 64th on stand between the halves of one behind a prefix of 48 bits.
        found.append(ipaddress.IPv4Address((number >> 64 & 0xFFFF) << 16 | number >> 40 & 0xFFFF))
        found.append(ipaddress.IPv4Address(number & 0xFFFF_FFFF))
    return [inner for inner in found if inner is not None]


def open_session(resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """Return a session for downloads, to be closed: it keeps no cookies and asks no proxies of the environment.

    `resolver` looks names up, instead of the system.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(resolver=resolver, socket_factory=_connect_to, use_dns_cache=False),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"smartmob/{__version__}"},
        timeout=aiohttp.ClientTimeout(total=None),
    )


def check_url(url: str) -> URL:
    """Return the address; raises DownloadError when it is none of http or https."""
    try:
        url.encode()
        parsed = URL(url)
    except ValueError:
        # It is not known where in it a password is.
        raise DownloadError("what was given as the source is not an address") from None
    if parsed.scheme not in _SCHEMES or not parsed.host:
        raise DownloadError(f"{shown(parsed)!r} is not an address that begins with http:// or https://")
    try:
        parsed.host.encode("idna")
    except UnicodeError:
        raise DownloadError(f"{parsed.host!r} is no name of a host") from None
    return parsed


def shown(url: URL) -> str:
    """Return the address as it may be told to anybody: without password and query, which may be secrets."""
    return str(url.with_query(None).with_fragment(None).with_user(None)) if url.host else str(url.with_query(None))


async def download(
    session: aiohttp.ClientSession,
    url: str,
    path: Path,
    limits: DownloadLimits,
    *,
    request_id: str | None = None,
    progress: Progress = lambda _done, _total: None,
    known: Version | None = None,
) -> Stored:
    """Write what is at `url` to the new file `path`, and tell `progress` on the way.

    Raises NotModified when the server says that it is the version `known`, and DownloadError with a reason for people;
    what was written till then is left to the caller.
    """
    where = [check_url(url)]
    headers = {"Accept-Encoding": "identity"}
    if request_id is not None:
        headers["X-Request-Id"] = request_id
    try:
        async with asyncio.timeout(limits.total_seconds), _answer(session, where, headers, limits, known) as response:
            # What the transport packs is counted as it comes out.
            total = None if "Content-Encoding" in response.headers else response.content_length
            if total is not None and total > limits.bytes:
                raise TooLarge(f"{_too_many(limits.bytes)} ({total})")
            check_free(path.parent, total or 0, limits.least_free)
            stored = await store(response.content.iter_any(), path, limits, total=total, progress=progress)
            tag = response.headers.get("ETag")
            return replace(stored, version=Version(str(where[-1]), tag) if tag else None)
    except (aiohttp.ClientError, OSError, ValueError, TooLarge) as error:
        # TimeoutError is an OSError.
        raise DownloadError(f"{shown(where[-1])}: {_reason(error, limits)}") from None


@asynccontextmanager
async def _answer(
    session: aiohttp.ClientSession,
    where: list[URL],
    headers: dict[str, str],
    limits: DownloadLimits,
    known: Version | None,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Give the answer with the content at the last address of `where`, to which each redirect adds one."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_seconds, sock_read=limits.stall_seconds)
    while True:
        address = where[-1]
        # A tag says nothing of another address.
        asked = {"If-None-Match": known.tag} if known is not None and known.address == str(address) else {}
        async with session.get(address, headers=headers | asked, timeout=timeout, allow_redirects=False) as response:
            if response.status in _REDIRECTS and "Location" in response.headers:
                if len(where) > limits.redirects:
                    raise DownloadError(f"{shown(where[0])}: more than {limits.redirects} redirects")
                where.append(_next(response))
                continue
            if asked and response.status == HTTPStatus.NOT_MODIFIED:
                raise NotModified
            if response.status != HTTPStatus.OK:
                said = f"{response.status} {response.reason or ''}".strip()
                raise DownloadError(f"{shown(address)}: the server answered {said}")
            yield response
            return


def _next(response: aiohttp.ClientResponse) -> URL:
    location = response.headers["Location"]
    try:
        address = response.url.join(URL(location))
        return check_url(str(address))
    except (ValueError, DownloadError):
        place = location.partition("?")[0].partition("#")[0].rpartition("@")[2][:200]
        raise DownloadError(
            f"{shown(response.url)}: redirects to {place!r}, and only http and https are followed"
        ) from None


async def store(
    chunks: AsyncIterable[bytes],
    path: Path,
    limits: DownloadLimits,
    *,
    total: int | None = None,
    progress: Progress = lambda _done, _total: None,
) -> Stored:
    """Write a stream to the new file `path`, which is on the disk when this returns.

    Raises TooLarge for more bytes than the limit, and DiskLow when the disk has no room for them.
    """
    digest, floor = hashlib.sha256(), Floor(path.parent, limits.least_free)
    done, waiting = 0, bytearray()
    with path.open("xb") as file:
        async for chunk in chunks:
            done += len(chunk)
            if done > limits.bytes:
                raise TooLarge(_too_many(limits.bytes))
            progress(done, total)
            waiting += chunk
            if len(waiting) >= _WRITE_FROM:
                piece, waiting = waiting, bytearray()
                await asyncio.to_thread(_append, file, digest, piece, floor)
        await asyncio.to_thread(_settle, file, digest, waiting, floor)
    return Stored(digest.hexdigest(), done)


def _append(file: BinaryIO, digest: hashlib._Hash, piece: bytearray, floor: Floor) -> None:
    floor.take(len(piece))
    digest.update(piece)
    file.write(piece)


def _settle(file: BinaryIO, digest: hashlib._Hash, piece: bytearray, floor: Floor) -> None:
    _append(file, digest, piece, floor)
    file.flush()
    os.fsync(file.fileno())


def _too_many(most: int) -> str:
    return f"there are more than {most} bytes"


def _reason(error: Exception, limits: DownloadLimits) -> str:
    """Say what went wrong in words for people."""
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"no connection within {limits.connect_seconds:g} s"
        case aiohttp.ServerTimeoutError():
            return f"stalled: nothing came for {limits.stall_seconds:g} s"
        case aiohttp.InvalidURL():
            return "it is not an address that can be understood"
        case TimeoutError():
            return f"not complete after {limits.total_seconds:g} s"
        case aiohttp.ClientConnectorDNSError():
            return f"the host {error.host!r} is not known"
        case aiohttp.ClientSSLError():
            return f"no secure connection: {error}"
        case aiohttp.ClientConnectorError(os_error=_Forbidden() as cause):
            return str(cause.strerror)
        case aiohttp.ClientConnectorError(os_error=cause):
            return f"no connection: {os.strerror(cause.errno) if cause.errno else cause}"
        case aiohttp.ServerDisconnectedError():
            return "the server closed the connection without an answer"
        case aiohttp.ClientPayloadError():
            return "the connection ended before the body was complete"
        case aiohttp.ClientResponseError():
            return f"the answer is no HTTP: {error.message}"
        case OSError():
            return error.strerror or str(error)
    return str(error) or type(error).__name__
