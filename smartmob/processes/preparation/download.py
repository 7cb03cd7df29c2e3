"""Downloading a source from an http or https address into a file, with limits of size and time."""

from __future__ import annotations

import asyncio
import hashlib
import os
import re
from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import BinaryIO

import aiohttp
import msgspec
from aiohttp.abc import AbstractResolver
from yarl import URL

from smartmob import __version__, authorities
from smartmob.errors import SmartmobError, TooLarge
from smartmob.kernel.http.address_filter import create_socket
from smartmob.kernel.http.connection_faults import connection_fault
from smartmob.kernel.runtime import clock
from smartmob.kernel.runtime.disk import Floor, check_free

Progress = Callable[[int, int | None], None]
"""Called with the number of bytes received, and the total if the server states it."""

_SCHEMES = ("http", "https")
_WRITE_BYTES = 512 * 1024
"""Received bytes are collected up to this size before they are written."""
_REDIRECTS = (
    HTTPStatus.MOVED_PERMANENTLY,
    HTTPStatus.FOUND,
    HTTPStatus.SEE_OTHER,
    HTTPStatus.TEMPORARY_REDIRECT,
    HTTPStatus.PERMANENT_REDIRECT,
)


_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)
"""Answers after which a request is repeated if they say how long to wait."""
_MOST_WAITS = 3  # in one download
_LONGEST_WAIT = 60.0  # seconds; a longer wait is an error, so that the user learns of it
_SECONDS = re.compile(r"[0-9]{1,9}")


class DownloadLimits(msgspec.Struct, frozen=True):
    """Limits of a download.

    `stall_seconds` is the longest time without a byte, `total_seconds` that of the whole download. `least_free` bytes
    of the disk stay free.
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
    """The source has not changed."""


class Version(msgspec.Struct, frozen=True):
    """The entity tag (RFC 9110, section 8.8.3) of the content at an address, after redirects."""

    address: str
    tag: str


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A stored file: its SHA-256 in hexadecimal digits, its bytes, and its version if the server names one."""

    digest: str
    size: int
    version: Version | None = field(default=None, compare=False)


def open_session(resolver: AbstractResolver | None = None) -> aiohttp.ClientSession:
    """Return a session for downloads; the caller closes it. It keeps no cookies and ignores proxy variables.

    `resolver` replaces the resolver of the system.
    """
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(
            ssl=authorities.verification(), resolver=resolver, socket_factory=create_socket, use_dns_cache=False
        ),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"User-Agent": f"smartmob/{__version__}"},
        timeout=aiohttp.ClientTimeout(total=None),
    )


def check_url(url: str) -> URL:
    """Return the parsed address; raises DownloadError unless it is a valid http or https address."""
    try:
        url.encode()
        parsed = URL(url)
    except ValueError:
        # The message must not show the text: it may contain a password at an unknown position.
        raise DownloadError("the source is not a valid address") from None
    if parsed.scheme not in _SCHEMES or not parsed.host:
        raise DownloadError(f"{shown(parsed)!r} is not an address that begins with http:// or https://")
    try:
        parsed.host.encode("idna")
    except UnicodeError:
        raise DownloadError(f"{parsed.host!r} is not a valid host name") from None
    return parsed


def shown(url: URL) -> str:
    """Return the address without user, password, query and fragment, which may be secret."""
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
) -> StoredFile:
    """Download `url` to the new file `path`; call `progress` for each chunk.

    Raises NotModified when the server still has the version `known`, and DownloadError with a reason for people. The
    caller removes what was written by then.
    """
    addresses = [check_url(url)]
    headers = {"Accept-Encoding": "identity"}
    if request_id is not None:
        headers["X-Request-Id"] = request_id
    try:
        async with (
            asyncio.timeout(limits.total_seconds),
            _request(session, addresses, headers, limits, known) as response,
        ):
            # With a content encoding, the Content-Length is not the number of bytes that are written.
            total = None if "Content-Encoding" in response.headers else response.content_length
            if total is not None and total > limits.bytes:
                raise TooLarge(f"{_too_large(limits.bytes)} ({total})")
            check_free(path.parent, total or 0, limits.least_free)
            stored = await store(response.content.iter_any(), path, limits, total=total, progress=progress)
            tag = response.headers.get("ETag")
            return replace(stored, version=Version(str(addresses[-1]), tag) if tag else None)
    except (aiohttp.ClientError, OSError, ValueError, TooLarge) as error:
        # TimeoutError is an OSError.
        raise DownloadError(f"{shown(addresses[-1])}: {_reason(error, limits)}") from None


@asynccontextmanager
async def _request(
    session: aiohttp.ClientSession,
    addresses: list[URL],
    headers: dict[str, str],
    limits: DownloadLimits,
    known: Version | None,
) -> AsyncIterator[aiohttp.ClientResponse]:
    """Yield the response at the last address; each redirect that is followed adds one to `addresses`."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=limits.connect_seconds, sock_read=limits.stall_seconds)
    waits = 0
    while True:
        address = addresses[-1]
        # An entity tag is valid only for its own address.
        conditional = {"If-None-Match": known.tag} if known is not None and known.address == str(address) else {}
        async with session.get(
            address, headers=headers | conditional, timeout=timeout, allow_redirects=False
        ) as response:
            if response.status in _REDIRECTS and "Location" in response.headers:
                if len(addresses) > limits.redirects:
                    raise DownloadError(f"{shown(addresses[0])}: more than {limits.redirects} redirects")
                addresses.append(_redirect_target(address, response.headers["Location"]))
                continue
            if conditional and response.status == HTTPStatus.NOT_MODIFIED:
                raise NotModified
            wait = _retry_after(response) if response.status in _BUSY else None
            if wait is None or wait > _LONGEST_WAIT or waits >= _MOST_WAITS:
                if response.status != HTTPStatus.OK:
                    status = f"{response.status} {response.reason or ''}".strip()
                    later = "" if wait is None else f", and asks to try again in {wait:.0f} s"
                    raise DownloadError(f"{shown(address)}: the server answered {status}{later}")
                yield response
                return
        waits += 1
        await asyncio.sleep(wait)


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    """Return the seconds to wait of the header Retry-After (RFC 9110, section 10.2.3), or None without a valid one."""
    text = response.headers.get("Retry-After", "").strip()
    if _SECONDS.fullmatch(text):
        return float(text)
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - clock.epoch())
    except (ValueError, OverflowError):
        return None


def _redirect_target(source: URL, location: str) -> URL:
    """Return the address to which a response of `source` redirects; raises DownloadError unless it is http or https.

    The login of an address is kept within its origin (scheme, host and port), and dropped for any other.
    """
    try:
        address = check_url(str(source.with_user(None).join(URL(location))))
        if source.user is not None and address.user is None and address.origin() == source.origin():
            return address.with_user(source.user).with_password(source.password)
        return address
    except (ValueError, DownloadError):
        target = location.partition("?")[0].partition("#")[0].rpartition("@")[2][:200]
        raise DownloadError(f"{shown(source)}: redirects to {target!r}, and only http and https are followed") from None


async def store(
    chunks: AsyncIterable[bytes],
    path: Path,
    limits: DownloadLimits,
    *,
    total: int | None = None,
    progress: Progress = lambda _done, _total: None,
) -> StoredFile:
    """Write a stream to the new file `path`, which has been synchronised to the disk when this returns.

    Raises TooLarge for more bytes than the limit, and DiskLow when they would leave too little free on the disk.
    """
    digest, floor = hashlib.sha256(), Floor(path.parent, limits.least_free)
    received, buffer = 0, bytearray()
    with path.open("xb") as file:
        async for chunk in chunks:
            received += len(chunk)
            if received > limits.bytes:
                raise TooLarge(_too_large(limits.bytes))
            progress(received, total)
            buffer += chunk
            if len(buffer) >= _WRITE_BYTES:
                piece, buffer = buffer, bytearray()
                await asyncio.to_thread(_append, file, digest, piece, floor)
        await asyncio.to_thread(_finish, file, digest, buffer, floor)
    return StoredFile(digest.hexdigest(), received)


def _append(file: BinaryIO, digest: hashlib._Hash, piece: bytearray, floor: Floor) -> None:
    floor.take(len(piece))
    digest.update(piece)
    file.write(piece)


def _finish(file: BinaryIO, digest: hashlib._Hash, piece: bytearray, floor: Floor) -> None:
    _append(file, digest, piece, floor)
    file.flush()
    os.fsync(file.fileno())


def _missing_encoding(message: str) -> str | None:
    """Return the content encoding whose missing package caused an error of aiohttp, or None."""
    if "content-encoding" not in message.lower() or "install" not in message:
        return None
    return "zstd" if "zstd" in message.lower() else "br"


def _too_large(limit: int) -> str:
    return f"the archive has more than {limit} bytes"


def _reason(error: Exception, limits: DownloadLimits) -> str:
    """Return the reason of a failed download, for people."""
    if not isinstance(error, TimeoutError) and (fault := connection_fault(error, message="body")) is not None:
        return fault
    match error:
        case aiohttp.ConnectionTimeoutError():
            return f"no connection within {limits.connect_seconds:g} s"
        case aiohttp.ServerTimeoutError():
            return f"stalled: nothing was received for {limits.stall_seconds:g} s"
        case aiohttp.InvalidURL():
            return "the address is invalid"
        case TimeoutError():
            return f"not complete after {limits.total_seconds:g} s"
        case aiohttp.ClientResponseError() if (encoding := _missing_encoding(error.message)) is not None:
            return (
                f"the answer is encoded with {encoding}, which needs smartmob[encodings] on the machine of the service"
            )
        case aiohttp.ClientResponseError():
            return f"the answer is not valid HTTP: {error.message}"
        case OSError():
            return error.strerror or str(error)
    return str(error) or type(error).__name__
