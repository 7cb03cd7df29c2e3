"""Sends a message to a webhook: one POST with limits of time and size, signed according to Standard Webhooks."""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import socket
import ssl
from datetime import UTC
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import quote

import aiohttp
import msgspec
from yarl import URL

from smartmob import __version__
from smartmob.alerts import payloads
from smartmob.alerts.model import Message, Receiver, one_line
from smartmob.errors import InvalidInput, SmartmobError
from smartmob.kernel.http.address_filter import ForbiddenAddress, create_socket
from smartmob.kernel.http.connection_faults import connection_fault
from smartmob.kernel.runtime import clock

MAX_ANSWER_BYTES = 2_048
"""Bytes of an answer that are read, for its error text; the connection is closed after them."""
LONGEST_RETRY_AFTER_SECONDS = 3_600.0
_ERROR_CHARACTERS = 200  # of the answer in an error text
_SHORTEST_SECRET_CHARACTERS = 8
"""Parts of an address that are shorter are not replaced in texts: they are mostly words such as `hooks` or numbers."""
_TRY_AGAIN = (HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_EARLY, HTTPStatus.TOO_MANY_REQUESTS)


class DeliveryFailed(SmartmobError):
    """A message could not be sent.

    `permanent` means that another attempt would fail in the same way. `after` is the number of seconds that the
    receiver wants to be left alone, or None.
    """

    def __init__(self, reason: str, permanent: bool = False, after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.permanent = permanent
        self.after = after


def check_address(text: str, where: str = "$.address") -> str:
    """Return the address of a webhook; raises InvalidInput unless it is a valid http or https address."""
    try:
        url = URL(text)
        host = url.host or ""
        host.encode("idna")
    except ValueError:
        raise InvalidInput.at(where, "expected an address such as https://chat.example.com/hooks/…") from None
    if url.scheme not in ("http", "https") or not host or not text.isprintable() or " " in text:
        raise InvalidInput.at(where, "expected an address that begins with https://, http:// or mailto:")
    return text


def shown_address(address: str) -> str:
    """Return an address without its possibly secret parts: user, password, path, query."""
    if address.startswith("mailto:"):
        return address
    url = URL(address)
    secret = url.path not in ("", "/") or url.query_string
    port = "" if url.is_default_port() or url.port is None else f":{url.port}"
    host = f"[{url.host}]" if ":" in (url.host or "") else url.host
    return f"{url.scheme}://{host}{port}/{'…' if secret else ''}"


def without_secrets(text: str, address: str) -> str:
    """Return a text with `…` in place of the secret parts of an address: path, query, user and password.

    Servers repeat the path of a request in their error pages, and errors of deliveries are shown to the role `read`.
    """
    url = URL(address)
    values = [value for values in (url.query.values(), url.parts) for value in values]
    whole = [url.path_qs, url.raw_path_qs, url.path, url.raw_path, url.query_string, url.raw_query_string]
    parts = [*whole, url.user, url.password, *values, *(quote(value, safe="") for value in values)]
    secrets = {part for part in parts if part is not None and len(part) >= _SHORTEST_SECRET_CHARACTERS}
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, "…")
    return text


class WebhookSender:
    """Sends messages. Redirects are not followed, no proxy variable is used, and no cookie is kept.

    `public_only` forbids addresses of private networks. `ca_file` has further certificates to trust.
    """

    def __init__(self, timeout: float, *, public_only: bool = False, ca_file: Path | None = None) -> None:
        self._timeout = timeout
        self._public_only = public_only
        self._ca_file = ca_file
        self._session: aiohttp.ClientSession | None = None

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, receiver: Receiver, message: Message, service: str, url: str | None) -> str:
        """Send a message, and return "" once the receiver has answered with 2xx. Raises DeliveryFailed."""
        document: dict[str, Any] = payloads.webhook(message, service, url)
        if receiver.format == "slack":
            document = {"text": document["text"]}
        body = msgspec.json.encode(document)
        timestamp = int(clock.epoch())
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": str(message.id),
            "webhook-id": str(message.id),
            "webhook-timestamp": str(timestamp),
        }
        if receiver.secret:
            headers["webhook-signature"] = payloads.signature(receiver.secret, str(message.id), timestamp, body)
        try:
            async with (
                asyncio.timeout(self._timeout),
                self._opened().post(
                    URL(receiver.address), data=body, headers=headers, allow_redirects=False
                ) as response,
            ):
                if not 200 <= response.status < 300:
                    raise await _refusal(response, receiver.address)
        except (aiohttp.ClientError, OSError, ValueError) as error:
            # TimeoutError is an OSError.
            raise DeliveryFailed(self._reason(error)) from None
        return ""

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            context = ssl.create_default_context()
            if self._ca_file is not None:
                context.load_verify_locations(self._ca_file)
            connector = aiohttp.TCPConnector(
                ssl=context, socket_factory=self._create_socket, use_dns_cache=False, force_close=True
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                headers={"User-Agent": f"smartmob/{__version__}", "Accept-Encoding": "identity"},
                timeout=aiohttp.ClientTimeout(total=None),
                read_bufsize=MAX_ANSWER_BYTES,
                auto_decompress=False,
            )
        return self._session

    def _create_socket(self, address: tuple[Any, ...]) -> socket.socket:
        target = str(address[4][0]).partition("%")[0]
        if self._public_only and not ipaddress.ip_address(target).is_global:
            raise ForbiddenAddress(errno.EACCES, "private addresses are not allowed (--alerts-public-only)")
        return create_socket(address)

    def _reason(self, error: Exception) -> str:
        if isinstance(error, TimeoutError):
            return f"no answer within {self._timeout:g} s"
        if (fault := connection_fault(error, "receiver")) is not None:
            return one_line(fault)
        if isinstance(error, aiohttp.ClientResponseError):
            return "the answer is not valid HTTP"
        if isinstance(error, OSError):
            return one_line(error.strerror or type(error).__name__)
        return type(error).__name__  # texts of other errors may contain the address, which is secret


async def _refusal(response: aiohttp.ClientResponse, address: str) -> DeliveryFailed:
    """Return the error for an answer of `address` that is not 2xx."""
    status = response.status
    if 300 <= status < 400:
        location = response.headers.get("Location", "")
        text = f"the receiver answered {status}, a redirect to {shown_target(location)}: give that address instead"
        return DeliveryFailed(text, permanent=True)
    start = (await response.content.read(MAX_ANSWER_BYTES)).decode(errors="replace")
    detail = without_secrets(start.strip(), address)
    text = one_line(f"the receiver answered {status} {detail}".strip(), _ERROR_CHARACTERS)
    permanent = 400 <= status < 500 and status not in _TRY_AGAIN
    return DeliveryFailed(text, permanent=permanent, after=retry_after(response.headers.get("Retry-After", "")))


def shown_target(location: str) -> str:
    """Return the target of a redirect without its possibly secret parts."""
    try:
        return shown_address(location) if URL(location).host else "another path of the same host"
    except ValueError:
        return "an address that is not valid"


def retry_after(text: str) -> float | None:
    """Return the seconds in a header Retry-After (RFC 9110, section 10.2.3), at most an hour, or None."""
    text = text.strip()
    if text.isascii() and text.isdigit() and len(text) < 10:
        return min(float(text), LONGEST_RETRY_AFTER_SECONDS)
    try:
        at = parsedate_to_datetime(text)
    except ValueError:
        return None
    at = at if at.tzinfo is not None else at.replace(tzinfo=UTC)
    return min(max(0.0, (at - clock.now()).total_seconds()), LONGEST_RETRY_AFTER_SECONDS)
