"""The client of other services: the console runs commands on their machines."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import quote, urlsplit

import aiohttp
import msgspec

from smartmob import authorities
from smartmob.errors import NotFound, SettingsError, Unavailable
from smartmob.feature_settings import ConsoleSettings
from smartmob.settings import secret

_CONNECT_SECONDS = 10.0
_CHUNK_BYTES = 64 * 1024
_NDJSON = "application/x-ndjson"


class RemoteService(msgspec.Struct, frozen=True):
    """Another service: `number` identifies it in routes, `name` is shown to people."""

    number: int
    name: str


class RemoteServices:
    """Runs commands only on the services in the settings."""

    def __init__(self, settings: ConsoleSettings) -> None:
        self._addresses = [_checked(address) for address in settings.peers]
        self._token_file = settings.peers_token_file

    def listed(self) -> list[RemoteService]:
        """Return the other services."""
        return [RemoteService(number, urlsplit(address).netloc) for number, address in enumerate(self._addresses)]

    async def call(self, number: int, command: str, arguments: bytes) -> AsyncIterator[bytes]:
        """Run a command on a peer and yield its answer in chunks. Raises NotFound and Unavailable."""
        if not 0 <= number < len(self._addresses):
            raise NotFound(f"there is no peer {number}; GET /console/peers lists them")
        url = f"{self._addresses[number]}/commands/{quote(command, safe='')}"
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_SECONDS)
        headers = {"Content-Type": "application/json", **_authorization(self._token_file)}
        try:
            async with (
                aiohttp.ClientSession(
                    connector=aiohttp.TCPConnector(ssl=authorities.verification()), timeout=timeout
                ) as session,
                session.post(url, data=arguments, headers=headers, allow_redirects=False) as response,
            ):
                if response.status != 200 or response.content_type != _NDJSON:
                    raise Unavailable(await _refusal(self._addresses[number], response))
                async for chunk in response.content.iter_chunked(_CHUNK_BYTES):
                    yield chunk
        except (aiohttp.ClientError, TimeoutError) as error:
            raise Unavailable(
                f"{self._addresses[number]} cannot be reached: {str(error) or type(error).__name__}"
            ) from None


def _checked(address: str) -> str:
    """Return an address without a slash at its end. Raises SettingsError."""
    parts = urlsplit(address)
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.username or parts.query or parts.fragment:
        raise SettingsError(f"--console-peers {address}: expected an address such as http://rack7:8080")
    return address.rstrip("/")


def _authorization(token_file: Path | None) -> dict[str, str]:
    if token_file is None:
        return {}
    return {"Authorization": f"Bearer {secret(token_file, '--console-peers-token-file')}"}


async def _refusal(address: str, response: aiohttp.ClientResponse) -> str:
    """Return the error message for an answer that is not the output of a command."""
    text = (await response.content.read(_CHUNK_BYTES)).decode(errors="replace")
    try:
        reason = msgspec.json.decode(text).get("detail") or text
    except (msgspec.DecodeError, AttributeError, RecursionError):
        reason = text
    return f"{address} answered {response.status}: {str(reason)[:500]}"
